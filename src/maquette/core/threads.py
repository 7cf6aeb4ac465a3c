"""One number of threads for torch and Numba.

Both may stand on the same OpenMP, and Numba's parallel loops tell it their number, which then is torch's too: sums come
out in another order, and the next asset of a process has other bytes than the first.
"""

import torch


def numba_as_torch() -> None:
    """Numba's next parallel loop in this thread takes as many threads as torch has, and leaves torch its number."""
    import numba  # here, because most of what starts needs no kernel

    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # the first call starts Numba's pool
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
