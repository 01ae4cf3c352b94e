"""Grids of classifiers: which networks and trainings, how they are run, and their tables."""
