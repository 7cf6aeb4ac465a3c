"""One paper, one file: each a generator of events that ends in a Result."""
