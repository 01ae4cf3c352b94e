"""Where the features of a layer lie on its input."""
