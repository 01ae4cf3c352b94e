"""What is shown of a name that somebody else chose."""

import pytest

from spl.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("a b-c_d.e", "a b-c_d.e"),
        ("猫 für école", "猫 für école"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("tab\tbell\x07", r"tab\tbell\x07"),
        ("back\rover", r"back\rover"),
        ("c1\x9b31m", r"c1\x9b31m"),
        ("right\u202eleft", r"right\u202eleft"),
        ("line\u2028end", r"line\u2028end"),
        ("next\x85line", r"next\x85line"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
        ("no\u00a0break\u3000wide", "no\u00a0break\u3000wide"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(name, shown):
    assert printable(name) == shown
    assert "\n" not in printable(name)
    printable(name).encode("utf-8")


def test_lines_stay_lines():
    assert printable_lines("one\ntwo\x1b[2J\n") == "one\ntwo\\x1b[2J\n"
