"""Sets of labelled images: which files there are, how they are opened, split and named."""
