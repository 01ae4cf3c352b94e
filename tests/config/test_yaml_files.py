"""YAML that would fill the memory, never end or run code; files that are none: one sentence each."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spl.cli import main as cli
from spl.config.yaml_files import MOST_BYTES, UnreadableYaml, read_yaml, read_yaml_file

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
REFUSED: dict[str, tuple[str | bytes, str, int | None]] = {  # text, what is reported, in which line
    "nine levels of nine": (BOMB, "more than 10,000 values, its aliases written out", 5),
    "a bomb of mappings": (BOMB.replace("[", "{k: [").replace("]", "]}"), "more than 10,000 values", 4),
    "an alias inside of itself": ("a: &a [*a]", "the alias *a inside of what it stands for", 1),
    "a mapping inside of itself": ("&a {b: {c: *a}}", "the alias *a inside of what it stands for", 1),
    "an alias as its own key": ("&a {*a : 1}", "the alias *a inside of what it stands for", 1),
    "an alias of nothing": ("a: *b", "undefined alias 'b'", 1),
    "many values": ("- 1\n" * 10_000, "more than 10,000 values", 10_000),
    "deep lists": ("[" * 100_000, "more than 32 levels", 1),
    "deep mappings": ("{a: " * 5_000, "more than 32 levels", 1),
    "deep blocks": ("".join(" " * depth + "a:\n" for depth in range(200)), "more than 32 levels", 32),
    "a twice named key": ("a: 1\nb: 2\na: 3", "the key 'a' twice", 3),
    "a twice named key deeper": ("x:\n  a: 1\n  a: 3", "the key 'a' twice", 3),
    "a list as a key": ("[1, 2]: 3", "a key that is no word", 1),
    "a mapping as a key": ("? {a: 1}\n: 3", "a key that is no word", 1),
    "two documents": ("a: 1\n---\na: 2\n", "another document", 2),
    "a Python object": ("a: !!python/object/apply:os.mkdir [owned]", "where no tags are read", 1),
    "a Python name": ("a: !!python/name:os.system", "where no tags are read", 1),
    "a time that is none": ("a: !!timestamp x", "where no tags are read", 1),
    "a bool that is none": ("a: !!bool x", "where no tags are read", 1),
    "an int that is none": ("a: !!int ''", "where no tags are read", 1),
    "a binary": ("a: !!binary x", "where no tags are read", 1),
    "a tag of ours": ("!spl {a: 1}", "where no tags are read", 1),
    "Latin-1": ("a: \xfc".encode("latin-1"), "unacceptable character #x00fc: invalid start byte", None),
    "half of UTF-16": (b"\xff\xfea", "unacceptable character #x0061: truncated data", None),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "unacceptable character #x0089", None),
    "NUL": (b"a: \x00", "unacceptable character #x0000", None),
    "a tab": ("a:\n\t- 1", "found character '\\t' that cannot start any token", 2),
    "another version": ("%YAML 9.0\n---\na: 1", "found incompatible YAML document", 1),
    "a version without end": ("%YAML 1." + "9" * 5_000 + "\n---\na: 1", "Exceeds the limit", None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_yaml_is_refused_at_once(name: str, tmp_path: Path) -> None:
    text, told, line = REFUSED[name]
    start = time.process_time()
    with pytest.raises(UnreadableYaml) as raised:
        read_yaml(text)
    assert time.process_time() - start < 5.0
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.line == line


def test_plain_yaml_is_read_with_its_aliases() -> None:
    assert read_yaml("a: &x {b: [1, '2']}\nc: *x\nd: ~\ne: off\n") == {
        "a": {"b": ["1", "2"]},
        "c": {"b": ["1", "2"]},
        "d": None,
        "e": "off",
    }
    assert read_yaml("a: &x [1]\nb: &y [*x]\nc: [*x, *y]") == {
        "a": ["1"],
        "b": [["1"]],
        "c": [["1"], [["1"]]],
    }
    assert read_yaml(b"\xef\xbb\xbfa: \xc3\xbc") == read_yaml("a: ü".encode("utf-16")) == {"a": "ü"}
    assert read_yaml("") is None


def test_only_a_regular_file_of_some_size_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_text("#" * MOST_BYTES + "\n")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "good").write_text("a: 1")
    (tmp_path / "link").symlink_to("good")
    for name, told in (
        ("fifo", "something that is no regular file"),
        ("/dev/zero", "something that is no regular file"),
        (".", "a folder"),
        ("none", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("good/x", "Not a directory"),
        ("large", "more than 262,144 bytes"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
    ):
        with pytest.raises(UnreadableYaml, match=told):
            read_yaml_file(tmp_path / name)
    assert read_yaml_file(tmp_path / "link") == {"a": "1"}


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", "[" * 100_000, "a: !!python/object:os.system x"])
def test_the_command_line_tells_it_in_a_line(text: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "config.yaml").write_text(text + "\n")
    for words in (
        ["train", "agent", "--config", str(tmp_path / "config.yaml")],
        ["train", "agent", "--resume", str(tmp_path)],
        ["ablate", "curriculum", "--resume", str(tmp_path)],
        ["report", str(tmp_path)],
        ["envs", "--help"],
    ):
        expected = 0 if words[0] == "envs" else 2
        assert cli.main(words) == expected, words
        told = capsys.readouterr().err
        assert told.count("\n") == (expected == 2), told


def test_a_bomb_on_the_command_line_is_refused_too(capsys) -> None:
    assert cli.main(["train", "agent", "--env.kwargs.x", "[" * 5_000]) == 2
    assert cli.main(["train", "agent", "--env.video_size", "[" * 5_000]) == 2
    assert cli.main(["train", "agent", "--num_steps", "9" * 5_000]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all(len(line) < 400 for line in told)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd here")
def test_a_pipe_of_the_shell_is_read() -> None:
    command = f"{sys.executable} -m spl models --config <(echo 'model: [resnet20]') --model_ 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100)
    assert done.stderr == "spl: unknown option --model_ (did you mean --model?)\n"
