"""``spl train``, ``spl pretrain``, and how fast: ``spl bench``; each imports what it needs when chosen."""

from spl.cli.run_arguments import INTERRUPTED, OK, parse_run
from spl.config.parse import given_options, parse
from spl.config.words import join_paths, name_first


def train_agent(argv: list[str]) -> int:
    """``spl train agent [ENV] [--resume RUN] [options]``."""
    from spl.agents.config import ALIASES, MAY_CHANGE, RUNS, TrainAgentConfig
    from spl.agents.encoder_init import adopt_encoder
    from spl.agents.train import train_agent as train

    argv = name_first(argv, "env", "env.id")
    config, resume = parse_run(TrainAgentConfig, argv, "spl train agent [ENV]", ALIASES, MAY_CHANGE, RUNS)
    if resume is None:
        config = adopt_encoder(config, given_options(TrainAgentConfig, argv, aliases=ALIASES))
    return OK if train(config, resume=resume).is_finished else INTERRUPTED


def train_classifier(argv: list[str]) -> int:
    """``spl train classifier [--resume RUN] [options]``."""
    from spl.classify.config import ALIASES, MAY_CHANGE, RUNS, TrainClassifierConfig
    from spl.classify.evaluation_tables import print_result
    from spl.classify.train import train_classifier as train

    prog = "spl train classifier"
    config, resume = parse_run(TrainClassifierConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
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
    return OK if pretrain(config, resume=resume).is_finished else INTERRUPTED


def bench(argv: list[str]) -> int:
    """``spl bench [ENV] [options]``."""
    from spl.agents.bench import BenchConfig, bench_agent, print_bench
    from spl.agents.config import ALIASES

    argv = name_first(argv, "env", "env.id")
    print_bench(bench_agent(parse(BenchConfig, argv, prog="spl bench [ENV]", aliases=ALIASES)))
    return OK
