"""The commands that train a grid and compare: ``spl ablate``; each imports what it needs when chosen."""

from typing import Any

from spl.cli.run_arguments import FAILURE, INTERRUPTED, OK, parse_run
from spl.config.words import join_paths


def ablate_classifier(argv: list[str]) -> int:
    """``spl ablate classifier [--resume RUN] [options]``."""
    from spl.classify.ablate import ablate_classifier as ablate
    from spl.classify.grid import ALIASES, MAY_CHANGE, RUNS, AblateClassifierConfig
    from spl.classify.tables import print_comparison

    prog = "spl ablate classifier"
    config, resume = parse_run(AblateClassifierConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    folder, is_finished, comparison = ablate(config, resume=resume)
    if not is_finished:
        return INTERRUPTED
    print_comparison(comparison, folder)
    return FAILURE if comparison.num_failed else OK


def ablate_curriculum(argv: list[str]) -> int:
    """``spl ablate curriculum [--of classifier|autoencoder|agent] [--resume RUN] [options]``."""
    from spl.ablation.curriculum_task import OF, RUNS, Curricula, subject_of
    from spl.ablation.grid import ablate
    from spl.ablation.tables import print_measures
    from spl.agents import curriculum_ablation as agent
    from spl.classify import curriculum_ablation as classifier
    from spl.pretrain import curriculum_ablation as autoencoder

    of, rest = subject_of(argv)
    subjects: Any = {"classifier": classifier, "autoencoder": autoencoder, "agent": agent}[of]
    prog = f"spl ablate curriculum --of {of}"
    for option in ("data.paths", "test.paths") if of == "autoencoder" else ():
        rest = join_paths(rest, subjects.ALIASES, option)
    config, resume = parse_run(
        subjects.CurriculaConfig, rest, prog, subjects.ALIASES, subjects.MAY_CHANGE, RUNS, OF
    )
    subject = subjects.Learner(config) if of == "agent" else subjects.Learner(config, resume)
    folder, is_finished, comparison = ablate(Curricula(subject), subject.name, resume=resume)
    if not is_finished:
        return INTERRUPTED
    print_measures(comparison, folder)
    return FAILURE if comparison.num_failed else OK
