"""The commands that list choices: ``spl models`` and ``spl presets``."""

from spl.cli.run_arguments import OK
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.config.presets import print_presets
from spl.config.words import join_paths, name_first


def models(argv: list[str]) -> int:
    """``spl models [NAME ...] [options]``."""
    from spl.models.image.catalog import ModelsConfig, print_models

    argv = join_paths(name_first(argv, "model", "model", is_list=True), {}, "model")
    print_models(parse(ModelsConfig, argv, prog="spl models [NAME ...]"))
    return OK


def presets(argv: list[str]) -> int:
    """``spl presets``."""
    if argv == ["--help"]:
        print("usage: spl presets\n\nlist the option files that come with spl, for --config NAME")
        return OK
    if argv:
        raise UsageError(f"spl presets takes no words, got {argv[0]}")
    print_presets()
    return OK
