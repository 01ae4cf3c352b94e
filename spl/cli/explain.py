"""``spl explain``, ``spl film`` and ``spl watch``: the commands that explain decisions."""

from pathlib import Path

from spl.cli.run_arguments import INTERRUPTED, OK, take_run
from spl.config.errors import UsageError
from spl.config.parse import given_options, parse
from spl.config.words import folder_of, join_paths, name_first, split_words, take_options


def explain_agent(argv: list[str]) -> int:
    """``spl explain agent RUN [options]``."""
    from spl.agents.evaluation.explain import ExplainAgentConfig, print_explanation
    from spl.agents.evaluation.explain import explain_agent as explain

    run, rest = take_run(argv, "spl explain agent runs/agent/...")
    print_explanation(explain(run, parse(ExplainAgentConfig, rest, prog="spl explain agent RUN")))
    return OK


def explain_classifier(argv: list[str]) -> int:
    """``spl explain classifier RUN ... [--images PATH ...] [options]``."""
    from spl.explain.classifier import ExplainClassifierConfig
    from spl.explain.classifier import explain_classifier as explain
    from spl.explain.tables import print_measures

    run, rest = take_run(argv, "spl explain classifier runs/classifier/...")
    others, rest = split_words(rest)
    rest, files = take_options(rest, "--images")
    beside = {"--images PATH ...": "image files to draw instead of held-out ones"}
    prog = "spl explain classifier RUN ..."
    config = parse(ExplainClassifierConfig, rest, prog=prog, beside=beside)
    if files and "num_drawn" in given_options(ExplainClassifierConfig, rest):
        raise UsageError("--num_drawn is of held-out images: leave it out, or --images")
    print_measures(explain([run, *(folder_of(other, "a run") for other in others)], config, files))
    return OK


def explain_autoencoder(argv: list[str]) -> int:
    """``spl explain autoencoder RUN [options]``."""
    from spl.explain.autoencoder import ExplainAutoencoderConfig, print_explanation
    from spl.explain.autoencoder import explain_autoencoder as explain
    from spl.pretrain.evaluate import ALIASES

    run, rest = take_run(argv, "spl explain autoencoder runs/autoencoder/...")
    prog, rest = "spl explain autoencoder RUN", join_paths(rest, ALIASES, "data.paths")
    print_explanation(explain(run, parse(ExplainAutoencoderConfig, rest, prog=prog, aliases=ALIASES)))
    return OK


def film(argv: list[str]) -> int:
    """``spl film RUN [options]``."""
    from spl.agents.film.command import film as shoot
    from spl.agents.film.config import FilmConfig

    run, rest = take_run(argv, "spl film runs/agent/...")
    done = shoot(run, parse(FilmConfig, rest, prog="spl film RUN"))
    returns = ", ".join(f"{total:g}" for total in done["returns"])
    cut = "" if done["ended"] == len(done["returns"]) else " so far: the film ends before the episode"
    frames = f"{done['frames']:,} frame{'s' * (done['frames'] > 1)}"
    print(f"{done['file']}: {done['seconds']:.1f} s, {frames}, return {returns}{cut}")
    print(f"{done['subtitles']}: what each decision rests on, in words; players show it as subtitles")
    return OK if done["is_finished"] else INTERRUPTED


def watch(argv: list[str]) -> int:
    """``spl watch RUN [options]``, ``spl watch ENV --human [options]``."""
    from spl.agents.film.watch import WatchConfig
    from spl.agents.film.watch import watch as show

    run, rest = None, argv
    if argv and not argv[0].startswith("-"):
        if Path(argv[0]).is_dir() or "--human" not in argv:
            run, rest = take_run(argv, "spl watch runs/agent/...")
        else:
            rest = name_first(argv, "env", "env.id")
    prog = "spl watch RUN | ENV --human"
    done = show(run, parse(WatchConfig, rest, prog=prog, aliases={"env": "env.id"}))
    returns = ", ".join(f"{total:g}" for total in done["returns"])
    print(f"{done['steps']:,} steps, return {returns or 'none'}")
    if done["recording"] is not None:
        print(f"{done['recording']}: what you played; 'spl pretrain autoencoder' takes it")
    return OK
