"""Evaluation of an autoencoder: reconstructions, linear probes and retrieval, and their tables."""
