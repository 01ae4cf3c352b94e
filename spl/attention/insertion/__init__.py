"""Attention put into any network: where it goes, and which features it gets there."""
