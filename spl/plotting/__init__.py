"""Figures drawn by more than one package: tiles of samples, and fonts for names in any script."""
