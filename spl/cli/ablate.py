"""``spl ablate``, ``spl search``: commands that train many runs; each imports what it needs when chosen."""

from typing import TYPE_CHECKING, Any

from spl.cli.run_arguments import FAILURE, INTERRUPTED, OK, parse_run
from spl.config.words import join_paths, name_first

if TYPE_CHECKING:
    from spl.ablation.grid import Ablation


def ablate_classifier(argv: list[str]) -> int:
    """``spl ablate classifier [--resume RUN] [options]``."""
    from spl.ablation.grid import RUNS
    from spl.classify.ablation.ablate import ablate_classifier as ablate
    from spl.classify.ablation.grid import ALIASES, MAY_CHANGE, AblateClassifierConfig

    prog = "spl ablate classifier"
    config, resume = parse_run(AblateClassifierConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    return _compared(ablate(config, resume=resume))


def ablate_curriculum(argv: list[str]) -> int:
    """``spl ablate curriculum [--of classifier|autoencoder|agent] [--resume RUN] [options]``."""
    from spl.ablation.curriculum_options import OF, subject_of
    from spl.ablation.curriculum_task import Curricula
    from spl.ablation.grid import RUNS, ablate
    from spl.agents.studies import curriculum_ablation as agent
    from spl.classify import curriculum_ablation as classifier
    from spl.pretrain.studies import curriculum_ablation as autoencoder

    of, rest = subject_of(argv)
    subjects: Any = {"classifier": classifier, "autoencoder": autoencoder, "agent": agent}[of]
    prog = f"spl ablate curriculum --of {of}"
    for option in ("data.paths", "test.paths") if of == "autoencoder" else ():
        rest = join_paths(rest, subjects.ALIASES, option)
    config, resume = parse_run(
        subjects.CurriculaConfig, rest, prog, subjects.ALIASES, subjects.MAY_CHANGE, RUNS, OF
    )
    subject = subjects.Learner(config, resume)
    return _compared(ablate(Curricula(subject), subject.name, resume=resume))


def ablate_agent(argv: list[str]) -> int:
    """``spl ablate agent [ENV] --vary.OPTION A,B [--resume RUN] [options]``."""
    from spl.ablation.grid import RUNS
    from spl.agents.config import ALIASES
    from spl.agents.studies.ablation import MAY_CHANGE, AblateAgentConfig
    from spl.agents.studies.ablation import ablate_agent as ablate

    prog = "spl ablate agent [ENV] --vary.OPTION A,B"
    argv = name_first(argv, "env", "env.id")
    config, resume = parse_run(AblateAgentConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    return _compared(ablate(config, resume=resume))


def search_agent(argv: list[str]) -> int:
    """``spl search agent [ENV] --space FILE [--resume RUN] [options]``."""
    from spl.agents.config import ALIASES
    from spl.agents.studies.search import MAY_CHANGE, RUNS, SearchAgentConfig
    from spl.agents.studies.search import search_agent as search
    from spl.agents.studies.search_result import print_search

    prog = "spl search agent [ENV] --space FILE"
    argv = name_first(argv, "env", "env.id")
    config, resume = parse_run(SearchAgentConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    found = search(config, resume=resume)
    if not found.is_finished:
        return INTERRUPTED
    print_search(found.folder, found.result)
    return OK if "command" in found.result else FAILURE


def _compared(ablation: "Ablation") -> int:
    """Print the comparison of a grid that is whole, and return the exit code."""
    from spl.ablation.tables import print_comparison

    if not ablation.is_finished:
        return INTERRUPTED
    print_comparison(ablation.comparison, ablation.folder)
    return FAILURE if ablation.comparison.num_failed else OK
