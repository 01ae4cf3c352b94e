"""Labelled image data sets: which files there are, how they are opened, split and named."""
