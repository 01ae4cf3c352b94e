"""``spl train``, ``spl pretrain``, and how fast: ``spl bench``; each imports what it needs when chosen."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from spl.cli.run_arguments import FAILURE, INTERRUPTED, OK, parse_run
from spl.config.errors import UsageError
from spl.config.parse import given_options, parse
from spl.config.words import join_paths, name_first


def train_agent(argv: list[str]) -> int:
    """``spl train agent [ENV] [--seeds 0-4 [--parallel N]] [--resume RUN] [options]``."""
    from spl.agents.config import ALIASES, RUNS
    from spl.agents.encoder_init import adopt_encoder
    from spl.agents.studies.seeds import BOTH, MAY_CHANGE, TrainAgentsConfig, print_seeds, train_seeds
    from spl.agents.train import train_agent as train

    argv = name_first(argv, "env", "env.id")
    config, resume = parse_run(TrainAgentsConfig, argv, "spl train agent [ENV]", ALIASES, MAY_CHANGE, RUNS)
    given = set() if resume is not None else given_options(TrainAgentsConfig, argv, aliases=ALIASES)
    if {"seed", "seeds"} <= given:
        raise UsageError(BOTH)
    if config.seeds is None:
        one = config.one if resume is not None else adopt_encoder(config.one, given)
        return OK if train(one, resume=resume).is_finished else INTERRUPTED
    if resume is None:
        config = adopt_encoder(config, given)
    found = train_seeds(config, resume=resume)
    if not found.is_finished:
        return INTERRUPTED
    print_seeds(found)
    return FAILURE if found.comparison.num_failed else OK


def train_classifier(argv: list[str]) -> int:
    """``spl train classifier [--resume RUN] [options]``."""
    from spl.classify.config import ALIASES, MAY_CHANGE, RUNS, TrainClassifierConfig
    from spl.classify.evaluation.tables import print_result
    from spl.classify.train import train_classifier as train

    prog = "spl train classifier"
    config, resume = parse_run(TrainClassifierConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    with _shared(config, {"restarts": 1, "compile": False, "transfer.peer": None}):
        result = train(config, resume=resume)
        if result.is_finished:
            print_result(result.scores, result.folder / "result.json")
    return OK if result.is_finished else INTERRUPTED


def pretrain_autoencoder(argv: list[str]) -> int:
    """``spl pretrain autoencoder FOLDER ... [--resume RUN] [options]``."""
    from spl.pretrain.config import ALIASES, MAY_CHANGE, RUNS, PretrainConfig
    from spl.pretrain.train import pretrain_autoencoder as pretrain

    prog = "spl pretrain autoencoder FOLDER ..."
    argv = join_paths(name_first(argv, "data", "data.paths", is_list=True), ALIASES, "data.paths")
    config, resume = parse_run(PretrainConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    with _shared(config, {"restarts": 1, "recipe.layer_epochs": 0}):
        return OK if pretrain(config, resume=resume).is_finished else INTERRUPTED


@contextmanager
def _shared(config: Any, alone: Mapping[str, Any]) -> Iterator[None]:
    """Share a training among the processes of torchrun, if there are several.

    Args:
        config: of the training.
        alone: options that only one process can have otherwise than so.

    Raises:
        UsageError: if one of these is otherwise, or devices do not serve.
    """
    from spl.config.options import options_of
    from spl.processes.ranks import joined, num_launched

    found = dict(options_of(type(config), config))
    for name, value in alone.items() if num_launched() > 1 else ():
        if found[name].default != value:
            raise UsageError(
                f"--{name} {found[name].default} cannot be shared among {num_launched()} processes: leave it "
                "out, or start without torchrun"
            )
    with joined(config.device):
        yield


def bench(argv: list[str]) -> int:
    """``spl bench [ENV] [options]``."""
    from spl.agents.bench import BenchConfig, bench_agent, print_bench, save_bench
    from spl.agents.config import ALIASES

    argv = name_first(argv, "env", "env.id")
    config = parse(BenchConfig, argv, prog="spl bench [ENV]", aliases=ALIASES)
    print_bench(result := bench_agent(config))
    if config.out is not None:  # last: a full disk costs the file, not the figures
        save_bench(result, config.out)
    return OK
