"""Errors that a user is meant to read: one sentence per line, no traceback."""


class UsageError(Exception):
    """A mistake of the user, reported in one sentence per line."""


class RunError(Exception):
    """What keeps a run from going on although nobody made a mistake, reported in one sentence per line."""


def lack_of_memory(error: BaseException) -> str | None:
    """Return the reason that an error gives for an allocation that failed; None for any other error.

    Python and NumPy raise a MemoryError, torch an OutOfMemoryError on a GPU and a RuntimeError on the CPU.
    """
    name, told = type(error).__name__, str(error)
    if (
        not isinstance(error, MemoryError)
        and name != "OutOfMemoryError"
        and "DefaultCPUAllocator" not in told
    ):
        return None
    return (told or name).splitlines()[0].rpartition("DefaultCPUAllocator: ")[2]
