"""One module for each kind of source that images are read from."""
