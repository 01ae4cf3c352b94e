"""The commands that tell of runs: evaluate, explain, film, report; each imports what it needs when chosen."""

from pathlib import Path
from typing import TYPE_CHECKING

from spl.cli.run_arguments import INTERRUPTED, OK, take_run
from spl.config.errors import UsageError
from spl.config.parse import given_options, parse
from spl.config.words import folder_of, join_paths, split_words, take_options

if TYPE_CHECKING:
    from spl.curriculum.report import Samples
    from spl.report.read_run import Kind


def evaluate_agent(argv: list[str]) -> int:
    """``spl evaluate agent RUN [options]``."""
    from spl.agents.evaluate import EvaluateAgentConfig, print_evaluation
    from spl.agents.evaluate import evaluate_agent as evaluate

    run, rest = take_run(argv, "spl evaluate agent runs/agent/...")
    config = parse(EvaluateAgentConfig, rest, prog="spl evaluate agent RUN")
    print_evaluation(evaluate(run, config))
    print(f"written to {run / 'evaluation.json'}")
    return OK


def evaluate_classifier(argv: list[str]) -> int:
    """``spl evaluate classifier RUN [options]``."""
    from spl.classify.evaluate import EvaluateClassifierConfig
    from spl.classify.evaluate import evaluate_classifier as evaluate
    from spl.classify.evaluation_tables import print_evaluation

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
    prog = "spl evaluate autoencoder RUN ..."
    rest = join_paths(rest, ALIASES, "data.paths")
    config = parse(EvaluateAutoencoderConfig, rest, prog=prog, aliases=ALIASES)
    results = [evaluate(one, config) for one in runs]
    print_evaluation(results[0] if len(runs) == 1 else pool(results), run if len(runs) == 1 else None)
    return OK


def explain_agent(argv: list[str]) -> int:
    """``spl explain agent RUN [options]``."""
    from spl.agents.explain import ExplainAgentConfig, print_explanation
    from spl.agents.explain import explain_agent as explain

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
    beside = {"--images PATH ...": "files of images to draw instead of held-out ones"}
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
    from spl.agents.film.command import FilmConfig
    from spl.agents.film.command import film as shoot

    run, rest = take_run(argv, "spl film runs/agent/...")
    done = shoot(run, parse(FilmConfig, rest, prog="spl film RUN"))
    returns = ", ".join(f"{total:g}" for total in done["returns"])
    print(f"{done['file']}: {done['seconds']:.1f} s, {done['frames']:,} frames, return {returns}")
    return OK if done["is_finished"] else INTERRUPTED


def report(argv: list[str]) -> int:
    """``spl report RUN ... [options]``."""
    from spl.report.write import ReportConfig, write_report

    runs, words = split_words(argv)
    if not runs and words != ["--help"]:
        raise UsageError("give the folder of a run, or of several: spl report runs/agent/...")
    config = parse(ReportConfig, words, prog="spl report RUN ...")
    written = write_report([folder_of(run, "a run") for run in runs], config, run_kinds())
    for note in written.notes:
        print(note)
    print(f"written to {written.path}, {written.num_bytes / 2**20:.1f} MiB")
    return OK


def report_curriculum(argv: list[str]) -> int:
    """``spl report curriculum RUN``."""
    from spl.report.read_run import read_folder
    from spl.runs.logger import print_table

    run, rest = take_run(argv, "spl report curriculum runs/classifier/...")
    if rest == ["--help"]:
        print(
            "usage: spl report curriculum RUN\n\nshows which samples were learned when, easiest and hardest"
        )
        return OK
    if rest:
        raise UsageError(f"spl report curriculum RUN takes one run and no options, got {rest[0]}")
    found = read_folder(run, run_kinds())
    if found.kind.name in ("grid", "curricula"):
        raise UsageError(f"{run} is a grid: give one of its runs, {run}/cells/VARIANT/seed-N")
    if found.kind.name == "agent":
        from spl.agents.curriculum_report import report_replay

        told = report_replay(run, found.rows)
    else:
        from spl.curriculum.report import report_rounds

        run, samples = _learned_from(run, found.kind.name)
        told = report_rounds(run, samples, run.resolve().name)
    print_table("Curriculum", told.columns, told.rows)
    if told.note is not None:
        print(told.note)
    print("written: " + ", ".join(map(str, told.paths)))
    return OK


def _learned_from(run: Path, kind: str) -> "tuple[Path, Samples]":
    """Return the run that was kept of one with restarts, and the samples that it learned from."""
    from spl.runs.directory import kept_run

    if kind == "classifier":
        from spl.classify import config as classifier
        from spl.classify.learned_samples import LearnedImages

        folder, images = kept_run(classifier.TrainClassifierConfig, run, classifier.RUNS, "result.json")
        return folder, LearnedImages(images, folder)
    from spl.pretrain import config as autoencoder
    from spl.pretrain.learned_samples import LearnedPairs

    folder, pairs = kept_run(autoencoder.PretrainConfig, run, autoencoder.RUNS, autoencoder.RESTARTS)
    return folder, LearnedPairs(pairs, folder)


def run_kinds() -> "list[Kind]":
    """Return what sorts of runs there are."""
    from spl.agents import config as agent
    from spl.agents import curriculum_ablation as agents
    from spl.classify import config as classifier
    from spl.classify import curriculum_ablation as classifiers
    from spl.classify import grid
    from spl.pretrain import config as autoencoder
    from spl.pretrain import curriculum_ablation as autoencoders
    from spl.report.read_run import Kind

    curricula = (agents, classifiers, autoencoders)
    return [
        Kind("agent", "spl train agent", agent.TrainAgentConfig, agent.MAY_CHANGE),
        Kind("classifier", "spl train classifier", classifier.TrainClassifierConfig, classifier.MAY_CHANGE),
        Kind("autoencoder", "spl pretrain autoencoder", autoencoder.PretrainConfig, autoencoder.MAY_CHANGE),
        Kind("grid", "spl ablate classifier", grid.AblateClassifierConfig, grid.MAY_CHANGE),
        *(
            Kind(
                "curricula",
                f"spl ablate curriculum --of {one.Learner.of}",
                one.CurriculaConfig,
                one.MAY_CHANGE,
            )
            for one in curricula
        ),
    ]
