"""Networks that classify images, their weights, and what they cost."""
