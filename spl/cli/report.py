"""``spl report``: the commands that report on runs, and the kinds of runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from spl.cli.run_arguments import OK, take_run
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.config.words import folder_of, split_words

if TYPE_CHECKING:
    from spl.curriculum.report import Samples
    from spl.report.read_run import Kind


def report(argv: list[str]) -> int:
    """``spl report RUN ... [options]``."""
    from spl.report.write import ReportConfig, write_report

    runs, words = split_words(argv)
    if not runs and words != ["--help"]:
        raise UsageError("give one run directory or several: spl report runs/agent/...")
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
            "usage: spl report curriculum RUN\n\nshow when each sample was learned from; easiest and hardest"
        )
        return OK
    if rest:
        raise UsageError(f"spl report curriculum RUN takes one run and no options, got {rest[0]}")
    found = read_folder(run, run_kinds())
    if found.kind.name in ("grid", "curricula"):
        raise UsageError(f"{run} is a grid: give one of its runs, {run}/cells/VARIANT/seed-N")
    if found.kind.name == "seeds":
        raise UsageError(f"{run} has the runs of several seeds: give one of them, {run}/seed-N")
    if found.kind.name == "agent":
        from spl.agents.config import kept_run
        from spl.agents.curriculum_report import report_replay

        run, _ = kept_run(run)
        told = report_replay(run, read_folder(run, run_kinds()).rows)
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
        from spl.classify.learned_samples import learned_images

        folder, images = kept_run(classifier.TrainClassifierConfig, run, classifier.RUNS, "result.json")
        return folder, learned_images(images, folder)
    from spl.pretrain import config as autoencoder
    from spl.pretrain.learned_samples import learned_pairs

    folder, pairs = kept_run(autoencoder.PretrainConfig, run, autoencoder.RUNS, autoencoder.RESTARTS)
    return folder, learned_pairs(pairs, folder)


def run_kinds() -> "list[Kind]":
    """Return what sorts of runs there are."""
    from spl.agents import config as agent
    from spl.agents.studies import ablation, seeds
    from spl.agents.studies import curriculum_ablation as agents
    from spl.classify import config as classifier
    from spl.classify import curriculum_ablation as classifiers
    from spl.classify.ablation import grid
    from spl.pretrain import config as autoencoder
    from spl.pretrain.studies import curriculum_ablation as autoencoders
    from spl.report.read_run import Kind

    curricula = (agents, classifiers, autoencoders)
    return [
        Kind("agent", "spl train agent", agent.TrainAgentConfig, agent.MAY_CHANGE),
        Kind("seeds", "spl train agent --seeds", seeds.TrainAgentsConfig, seeds.MAY_CHANGE),
        Kind("classifier", "spl train classifier", classifier.TrainClassifierConfig, classifier.MAY_CHANGE),
        Kind("autoencoder", "spl pretrain autoencoder", autoencoder.PretrainConfig, autoencoder.MAY_CHANGE),
        Kind("grid", "spl ablate classifier", grid.AblateClassifierConfig, grid.MAY_CHANGE),
        Kind("grid", "spl ablate agent", ablation.AblateAgentConfig, ablation.MAY_CHANGE),
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
