"""Errors that a user is meant to read: one sentence per line, no traceback."""


class UsageError(Exception):
    """A mistake of the user, reported in one sentence per line."""


class RunError(Exception):
    """What keeps a run from going on although nobody made a mistake, reported in one sentence per line."""
