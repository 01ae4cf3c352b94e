"""Foreign names made safe to print: on one line, without terminal control characters."""

JOINERS = "\u200c\u200d"  # invisible, and part of words in several scripts and of emoji


def printable(name: str) -> str:
    """Return ``name`` with every character escaped that is not seen: ``a\\nb`` for a line break in a name.

    Escaped are control characters (a terminal obeys ESC), line and paragraph separators, marks that turn the
    direction of writing, and bytes of a file's name that are not UTF-8 (``\\udcff``). What can be seen in
    any script stays, and so do spaces.
    """
    if name.isprintable():  # most are
        return name
    return "".join(
        one if one.isprintable() or one in JOINERS or (one.isspace() and _is_blank(one)) else _escaped(one)
        for one in name
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, of which each is made :func:`printable`."""
    return "\n".join(map(printable, text.split("\n")))


def _is_blank(one: str) -> bool:
    """Whether a space moves the cursor to the right only: no control character, no separator of lines."""
    return one > "\x9f" and one not in "\u2028\u2029"


def _escaped(one: str) -> str:
    return one.encode("unicode_escape", "surrogatepass").decode("ascii")
