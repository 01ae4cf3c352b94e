"""``spl evaluate``: the commands that evaluate a run; each imports what it needs when it is chosen."""

from spl.cli.run_arguments import OK, take_run
from spl.config.parse import parse
from spl.config.words import check_once, folder_of, join_paths, split_words


def evaluate_agent(argv: list[str]) -> int:
    """``spl evaluate agent RUN [options]``."""
    from spl.agents.evaluation.evaluate import EvaluateAgentConfig, file_of, print_evaluation
    from spl.agents.evaluation.evaluate import evaluate_agent as evaluate

    run, rest = take_run(argv, "spl evaluate agent runs/agent/...")
    config = parse(EvaluateAgentConfig, rest, prog="spl evaluate agent RUN")
    print_evaluation(evaluate(run, config))
    print(f"written to {file_of(run, config)}")
    return OK


def evaluate_classifier(argv: list[str]) -> int:
    """``spl evaluate classifier RUN [options]``."""
    from spl.classify.evaluation.evaluate import EvaluateClassifierConfig
    from spl.classify.evaluation.evaluate import evaluate_classifier as evaluate
    from spl.classify.evaluation.tables import print_evaluation

    run, rest = take_run(argv, "spl evaluate classifier runs/classifier/...")
    config = parse(EvaluateClassifierConfig, rest, prog="spl evaluate classifier RUN")
    print_evaluation(evaluate(run, config), run / f"{config.file}.json")
    return OK


def evaluate_autoencoder(argv: list[str]) -> int:
    """``spl evaluate autoencoder RUN ... [options]``."""
    from spl.pretrain.evaluate import ALIASES, EvaluateAutoencoderConfig
    from spl.pretrain.evaluate import evaluate_autoencoder as evaluate
    from spl.pretrain.evaluation.pool_seeds import pool
    from spl.pretrain.evaluation.tables import print_evaluation

    run, rest = take_run(argv, "spl evaluate autoencoder runs/autoencoder/...")
    others, rest = split_words(rest)
    runs = [run, *(folder_of(other, "a run") for other in others)]
    check_once(runs)
    prog = "spl evaluate autoencoder RUN ..."
    rest = join_paths(rest, ALIASES, "data.paths")
    config = parse(EvaluateAutoencoderConfig, rest, prog=prog, aliases=ALIASES)
    results = [evaluate(one, config) for one in runs]
    print_evaluation(results[0] if len(runs) == 1 else pool(results), run if len(runs) == 1 else None)
    return OK
