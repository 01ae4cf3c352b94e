"""Lists of commands for help, and suggestions for mistyped ones."""

import difflib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from spl.config.synonyms import either

WIDTH = 36  # of the column of commands
MOST = 3  # that a sentence names
SUBJECTS = ("agent", "classifier", "autoencoder")  # what commands are about
_CALLED = {  # a word of a command -> what users of other programs call it
    "train": "fit learn run start finetune",
    "evaluate": "eval test score validate benchmark predict",
    "explain": "saliency interpret gradcam attention why",
    "pretrain": "pretraining pre-train",
    "ablate": "ablation compare grid",
    "search": "tune optimize optimise hpo optuna sweep hyperopt",
    "report": "show plot page html summary",
    "film": "render video movie",
    "watch": "play enjoy live window view",
    "record": "collect rollout rollouts gather dataset",
    "models": "model networks nets architectures",
    "envs": "list environments games",
    "check": "doctor diagnose verify",
    "presets": "preset config configs recipes",
    "agent": "dqn rl policy agents",
    "classifier": "resnet classification classify image images cnn classifiers",
    "autoencoder": "ae auto-encoder encoder autoencoders",
    "env": "environment",
    "curriculum": "curricula",
}
CALLED = {word: meant for meant, words in _CALLED.items() for word in words.split()}
Words = tuple[str, ...]


class Command(NamedTuple):
    """One command."""

    run: Callable[[list[str]], int]  # takes the words behind its name, returns the exit code
    usage: str  # what stands behind its name, before the options
    purpose: str  # in a line


def table(commands: Mapping[Words, Command]) -> str:
    """Return a line for each command."""
    lines = []
    for words, command in commands.items():
        name = " ".join(("spl", *words, command.usage)).strip()
        lines += textwrap.wrap(
            command.purpose,
            width=100,
            initial_indent=f"  {name:<{WIDTH}} " if len(name) <= WIDTH else f"  {name}  ",
            subsequent_indent=" " * (WIDTH + 3),
        )
    return "\n".join(lines)


def group(commands: Mapping[Words, Command], first: str) -> dict[Words, Command]:
    """Return the commands that begin with a word."""
    return {words: command for words, command in commands.items() if words[0] == first}


def nearest(commands: Mapping[Words, Command], argv: Sequence[str]) -> list[str]:
    """Return the commands that ``argv`` may mean, with the words that stay behind, most likely first.

    A word may be misspelt, another program's, or stand in the other's place; the word for the subject may be
    missing before a run, whose path tells it, or where there is only one.
    """
    typed = [word for word in argv if not word.startswith("-")][:2]
    if not typed:
        return []
    words = [CALLED.get(word.lower(), word.lower()) for word in typed]
    scores = {name: _likeness(words, name) for name in commands}
    best = max(scores.values())
    if best >= 0.75:
        found = [name for name, score in scores.items() if score == best]
        return [_joined(name, argv, 2 if len(typed) > 1 and len(name) > 1 else 1) for name in found[:MOST]]
    first = _close(words[0], [name[0] for name in commands])
    if first is None:
        return [_joined(name, argv, 1) for name in commands if words[0] in name[1:]][:MOST]
    members = [name for name in commands if name[0] == first]
    told = [name for name in members if len(name) > 1 and name[1] in PurePath(typed[-1]).parts]
    return [_joined(name, argv, 1) for name in (told or members)[:MOST]]


def _likeness(typed: Sequence[str], name: Words) -> float:
    """Return how like the words are to a command's, in either order, 1 for the same; else 0."""
    if len(name) == 1:
        return _ratio(typed[0], name[0])
    joined = typed[0].replace("_", "").replace("-", "")
    as_one = _ratio(joined, "".join(name))
    as_one = as_one if as_one >= 0.85 else 0.0  # such as train-agent; a word alone is not half of two
    if len(typed) == 1:
        return as_one
    orders = (typed, typed[::-1])
    pairs = [[_ratio(word, its) for word, its in zip(order, name, strict=True)] for order in orders]
    return max(as_one, *(sum(pair) / 2 for pair in pairs if min(pair) >= 0.6), 0.0)


def _ratio(typed: str, word: str) -> float:
    return 0.0 if "/" in typed else difflib.SequenceMatcher(None, typed, word).ratio()  # a path is no word


def _close(typed: str, words: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(typed, words, 1, cutoff=0.7)), None)


def _joined(name: Words, argv: Sequence[str], num_replaced: int) -> str:
    """Return a command with the words of ``argv`` that it does not replace, up to the first option."""
    rest = [word for word in argv[num_replaced : num_replaced + 1] if word[:1] != "-" and word not in name]
    return " ".join(("spl", *name, *rest))


def unknown(commands: Mapping[Words, Command], argv: Sequence[str]) -> str:
    """Return the sentence on words that name no command."""
    if argv[0].startswith("-"):
        return f"there is no option {argv[0]} of spl itself; name a command first: spl --help lists them"
    found = nearest(commands, argv)
    hint = f"did you mean {either([repr(name) for name in found])}?" if found else "spl --help lists them"
    typed = " ".join(word for word in argv[:2] if not word.startswith("-"))
    return f"there is no command 'spl {typed}'; {hint}"
