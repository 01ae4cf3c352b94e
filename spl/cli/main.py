"""The command line: one function a command, which imports what it needs only when it is chosen."""

import faulthandler
import os
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

from spl import __version__
from spl.cli import commands as telling
from spl.cli.run_arguments import FAILURE, INTERRUPTED, MISTAKE, OK, parse_run
from spl.cli.suggestions import Command, group, table, unknown
from spl.config.errors import RunError, UsageError
from spl.config.parse import given_options, parse
from spl.config.presets import print_presets
from spl.config.synonyms import either
from spl.config.words import join_paths, name_first
from spl.printable import printable, printable_lines
from spl.runs.signals import end_at_second_ctrl_c, leave

HEAD = "spl: reinforcement learning, pretraining and classification on video and audio\n"
FOOT = """
--help behind a command lists its options and defaults; behind a first word, the commands that begin with it.
Options are --a.b VALUE, on top of --config FILE.yaml or a preset. --debug shows the traceback of a mistake.
--version shows the version.
"""
HELP = ("--help", "-h", "help")


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


def pretrain_autoencoder(argv: list[str]) -> int:
    """``spl pretrain autoencoder FOLDER ... [--resume RUN] [options]``."""
    from spl.pretrain.config import ALIASES, MAY_CHANGE, RUNS, PretrainConfig
    from spl.pretrain.train import pretrain_autoencoder as pretrain

    prog = "spl pretrain autoencoder FOLDER ..."
    argv = join_paths(name_first(argv, "data", "data.paths", is_list=True), ALIASES, "data.paths")
    config, resume = parse_run(PretrainConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    return OK if pretrain(config, resume=resume).is_finished else INTERRUPTED


def models(argv: list[str]) -> int:
    """``spl models [NAME ...] [options]``."""
    from spl.models.catalog import ModelsConfig, print_models

    argv = join_paths(name_first(argv, "model", "model", is_list=True), {}, "model")
    print_models(parse(ModelsConfig, argv, prog="spl models [NAME ...]"))
    return OK


def record(argv: list[str]) -> int:
    """``spl record [ENV] [options]``."""
    from spl.agents.record import RecordConfig
    from spl.agents.record import record as roll_out

    argv = name_first(argv, "env", "env.id")
    done = roll_out(parse(RecordConfig, argv, prog="spl record [ENV]", aliases={"env": "env.id"}))
    print(f"{done['folder']}: {done['steps']:,} steps, {done['episodes']:,} whole episodes")
    return OK if done["is_finished"] else INTERRUPTED


def envs(argv: list[str]) -> int:
    """``spl envs [ENV ...]``."""
    from spl.envs.registry import ale_games, describe_envs
    from spl.runs.logger import print_table

    unknown = [word for word in argv if word.startswith("-") and word != "--help"]
    if unknown:
        raise UsageError(f"spl envs takes names of environments only, got {unknown[0]}")
    if "--help" in argv:
        print("usage: spl envs [ENV ...]\n\nlists spl's own environments and installed games, or those given")
        return OK
    columns = ["environment", "actions", "picture", "sound", "rate"]
    print_table("Environments", columns, describe_envs(argv))
    if not argv:
        print(textwrap.fill("ALE games: " + (" ".join(ale_games()) or "none installed"), width=100))
    return OK


def check_env(argv: list[str]) -> int:
    """``spl check env ENV [options]``."""
    from spl.envs.check.command import check_env as check
    from spl.envs.check.command import print_findings
    from spl.envs.check.examine import CheckEnvConfig

    words = name_first(argv, "env", "env.id")
    if not {word.partition("=")[0] for word in words} & {"--env", "--env.id", "--config", "--help"}:
        raise UsageError("say which environment is meant: spl check env spl/Beacon-v0")
    config = parse(CheckEnvConfig, words, prog="spl check env ENV", aliases={"env": "env.id"})
    findings = check(config)
    print_findings(config, findings)
    return FAILURE if any(finding.verdict == "fault" for finding in findings) else OK


def presets(argv: list[str]) -> int:
    """``spl presets``."""
    if argv == ["--help"]:
        print("usage: spl presets\n\nlists the files of options that come with spl, for --config NAME")
        return OK
    if argv:
        raise UsageError(f"spl presets takes no words, got {argv[0]}")
    print_presets()
    return OK


COMMANDS: dict[tuple[str, ...], Command] = {
    ("train", "agent"): Command(train_agent, "[ENV]", "train a multimodal deep Q-network"),
    ("train", "classifier"): Command(train_classifier, "", "train a residual network with attention"),
    ("pretrain", "autoencoder"): Command(
        pretrain_autoencoder,
        "FOLDER ...",
        "learn a joint audio-visual representation",
    ),
    ("evaluate", "agent"): Command(
        telling.evaluate_agent, "RUN", "returns with both modalities, one alone, noise, a failing one"
    ),
    ("evaluate", "classifier"): Command(
        telling.evaluate_classifier, "RUN", "scores on held-out images, overall and by class"
    ),
    ("evaluate", "autoencoder"): Command(
        telling.evaluate_autoencoder, "RUN ...", "reconstruction errors, linear probes, retrieval"
    ),
    ("explain", "agent"): Command(
        telling.explain_agent, "RUN", "where in video and audio an agent's decisions come from"
    ),
    ("explain", "classifier"): Command(
        telling.explain_classifier, "RUN ...", "saliency maps over images, and measures of the maps"
    ),
    ("explain", "autoencoder"): Command(
        telling.explain_autoencoder, "RUN", "where in video and audio reconstruction errors come from"
    ),
    ("ablate", "classifier"): Command(
        ablate_classifier, "", "compare attention modules over seeds: a table and a figure"
    ),
    ("ablate", "curriculum"): Command(
        ablate_curriculum, "[--of NAME]", "compare curricula over seeds: a table and a figure"
    ),
    ("report",): Command(
        telling.report, "RUN ...", "write one HTML page of a run, or of several side by side"
    ),
    ("report", "curriculum"): Command(
        telling.report_curriculum, "RUN", "which samples were learned when, easiest and hardest"
    ),
    ("film",): Command(telling.film, "RUN", "film an agent at work, with its sound and saliency maps"),
    ("record",): Command(record, "[ENV]", "record an environment's video and audio into a folder"),
    ("models",): Command(models, "[NAME ...]", "list networks with parameters, operations and memory"),
    ("envs",): Command(envs, "[ENV ...]", "list environments and their streams"),
    ("check", "env"): Command(check_env, "ENV", "diagnose an environment and suggest fixes"),
    ("presets",): Command(presets, "", "list the files of options that come with spl, for --config"),
}


# A thread that waits for work spins, and beside a busy neighbour it spins on the core that the work needs.
# These let it sleep sooner than by default, 300,000 turns (OpenMP: PyTorch), or have none that waits
# (OpenBLAS: NumPy). A tenth of this would lose a quarter of the updates where no neighbour is: see "Speed"
# in docs/results.md.
CALM = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_NUM_THREADS": "1"}


def calm_threads() -> None:
    """Keep waiting threads from spinning for long, where the user has not said otherwise.

    Does nothing once torch is loaded, which reads these variables once. How many threads there are stays as
    it is, so that sums come out the same to the bit.
    """
    if "torch" in sys.modules:
        return
    for name, value in CALM.items():
        if name != "GOMP_SPINCOUNT" or "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault(name, value)


def choose(argv: list[str]) -> tuple[Callable[[list[str]], int], list[str]]:
    """Return the command that ``argv`` names, and its own words.

    Raises:
        UsageError: if it names none.
        SystemExit: with code 0, after the list of those that begin with a word.
    """
    rest = ["--help" if word == "-h" else word for word in argv]
    members = group(COMMANDS, argv[0])
    is_asked = "--help" in rest
    for words, command in sorted(COMMANDS.items(), key=lambda item: -len(item[0])):  # the longest fit
        if tuple(argv[: len(words)]) == words:
            if is_asked and len(words) < max(map(len, members)):
                print(f"{table(members)}\n")
            return command.run, rest[len(words) :]
    if members and (len(rest) == 1 or rest[1].startswith("-")):
        print(table(members), file=sys.stdout if is_asked else sys.stderr)
        if is_asked:
            raise SystemExit(OK)
        raise UsageError(f"spl {argv[0]} needs one more word: {either([words[1] for words in members])}")
    raise UsageError(unknown(COMMANDS, argv))


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a user's mistake, 1 for a failure, 130 interrupted.

    Without ``argv`` this is the process's own command: a second Ctrl-C ends it, whatever it does.
    """
    if argv is None:
        faulthandler.enable()  # says at which line a library aborts
        with end_at_second_ctrl_c():
            return leave(main(sys.argv[1:]))
    is_debugging = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    if not argv or (argv[0] in HELP and len(argv) == 1):
        print(HEAD, table(COMMANDS), FOOT, sep="\n", end="")
        return OK
    if argv[0] in HELP:
        argv = [*argv[1:], "--help"]
    if argv[0] == "--version":
        print(__version__)
        return OK
    calm_threads()
    sys.path.insert(0, "")  # so that --env module:Id finds a file beside the user, as python -m would
    try:
        command, rest = choose(argv)
        return command(rest)
    except UsageError as error:
        if is_debugging:
            traceback.print_exc()
        print("\n".join(f"spl: {printable(line)}" for line in str(error).split("\n")), file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("spl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILURE
    except (OSError, RunError) as error:
        if is_debugging:
            traceback.print_exc()
        print(f"spl: {printable_lines(str(error))}", file=sys.stderr)
        return FAILURE
    except Exception as error:
        traceback.print_exc()
        print(f"spl: failed with {type(error).__name__}: {printable_lines(str(error))}", file=sys.stderr)
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
