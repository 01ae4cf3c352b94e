"""Reading option files: plain YAML, one document, and small once its aliases are expanded.

What the options mean is described in ``spl.config.parse``.
"""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES, MOST_NODES, MOST_DEPTH = 2**18, 10_000, 32
_OPEN_ALREADY = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")  # <(command) in a shell is one of these


class UnreadableYaml(ValueError):
    """What was found instead of YAML that can be read, and in which line, from 1, where that is known."""

    def __init__(self, found: str, line: int | None = None) -> None:
        super().__init__(found)
        self.line = line


class Plain(str):
    """A scalar written without quotes: what it means waits for the type of its field."""


def plain(text: str) -> Plain | None:
    """Return what a scalar without quotes is; None for those that stand for nothing."""
    return None if text in ("", "~", "null") else Plain(text)


class _Loader(yaml.SafeLoader):
    """Keeps scalars as written, where YAML 1.1 reads ``off`` as false and ``1e-4`` as a string.

    An alias counts as often as what it stands for, so that a file of a line cannot fill the memory.
    """

    yaml_implicit_resolvers = {}

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.depth = self.num_nodes = 0
        self.sizes: dict[str, int] = {}  # nodes by anchor, once it is read to its end

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self.sizes:
                raise _wrong(f"the alias *{event.anchor} inside of what it stands for", event)
            node = super().compose_node(parent, index)
            self._count(self.sizes[event.anchor], event)
            return node
        if event.tag is not None:
            raise _wrong(f"the tag {event.tag}, where no tags are read", event)
        if self.depth == MOST_DEPTH:
            raise _wrong(f"more than {MOST_DEPTH} levels", event)
        before, self.depth = self.num_nodes, self.depth + 1
        self._count(1, event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if event.anchor is not None:
            self.sizes[event.anchor] = self.num_nodes - before
        return node

    def _count(self, num_nodes: int, event: Any) -> None:
        self.num_nodes += num_nodes
        if self.num_nodes > MOST_NODES:
            raise _wrong(f"more than {MOST_NODES:,} values, its aliases written out", event)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        return plain(value) if node.style is None else value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a key that is no word", key)
            if key.value in found:
                raise _wrong(f"the key {key.value!r} twice", key)
            found.add(key.value)
        return super().construct_mapping(node, deep)


def _wrong(what: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, what, place.start_mark)


def read_yaml(text: bytes | str) -> Any:
    """Return what YAML holds: mappings, lists and words, those without quotes as `Plain`.

    Raises:
        UnreadableYaml: for what cannot be read.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        found = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UnreadableYaml(found.removeprefix("but found "), mark and mark.line + 1) from error


def read_yaml_file(path: Path) -> Any:
    """Return what a YAML file holds, as `read_yaml`.

    Raises:
        UnreadableYaml: if it cannot be opened, is no regular file or too large, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not _OPEN_ALREADY.fullmatch(str(path)):
            raise UnreadableYaml("a folder" if path.is_dir() else "something that is no regular file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableYaml(error.strerror or str(error)) from error
    except UnreadableYaml:
        raise
    except ValueError as error:  # a path with NUL in it
        raise UnreadableYaml(str(error)) from error
    if len(content) > MOST_BYTES:
        raise UnreadableYaml(f"more than {MOST_BYTES:,} bytes")
    return read_yaml(content)
