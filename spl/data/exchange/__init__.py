"""Recordings in the formats of other projects: written without loss, and read as our own are."""
