"""Networks: streams, the two-stream encoder, the autoencoder, residual networks; their cost."""
