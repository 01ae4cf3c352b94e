"""Commands that train many autoencoders: comparisons of curricula."""
