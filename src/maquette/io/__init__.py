"""The border of the package: files in and out, checked before they are parsed and written atomically."""
