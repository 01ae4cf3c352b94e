"""Labelled image datasets: which files there are, how they are opened, split and named."""
