"""Pretraining: one code for what is seen and heard, learned without rewards or labels."""
