"""A trained agent handed on: exported to play without us, or pushed to a hub."""
