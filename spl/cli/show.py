"""``spl show``: the command that draws what a dataset looks like."""

from spl.cli.run_arguments import OK
from spl.config.parse import parse
from spl.config.words import split_words


def show_data(argv: list[str]) -> int:
    """``spl show data NAME|PATH ... [options]``."""
    from spl.explain.data import IMAGE_SETS, ShowDataConfig
    from spl.explain.data import show_data as show

    words, rest = split_words(argv)
    is_named = any(word.startswith("--images.name") for word in rest)
    if words and not is_named:  # some options are of one set alone
        rest = ["--images.name", words[0] if words[0] in IMAGE_SETS else "folder", *rest]
    for sentence in show(words, parse(ShowDataConfig, rest, prog="spl show data NAME|PATH ...")):
        print(sentence)
    return OK
