"""Grids of runs over variants and seeds, compared."""
