"""Pretraining: a joint audio-visual representation, learned without rewards or labels."""
