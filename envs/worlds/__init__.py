"""Worlds of our own that must be seen and heard, each with an oracle and a known best return."""
