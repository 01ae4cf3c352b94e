"""Worlds of our own that need video and audio, each with an oracle and a known best return."""
