"""What an autoencoder is worth: reconstructions, linear probes and retrieval, and tables of them."""
