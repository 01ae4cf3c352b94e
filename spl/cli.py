"""The command line: one function a command, which imports what it needs only when it is chosen."""

import faulthandler
import os
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

from spl import __version__, telling
from spl.arguments import FAILURE, INTERRUPTED, MISTAKE, OK, join_paths, parse_run, split_words
from spl.config import RunError, UsageError, given_options, parse
from spl.naming import printable, printable_lines
from spl.presets import print_presets
from spl.signals import end_at_second_ctrl_c, leave

USAGE = """\
spl: agents that see and hear

  spl train agent [--resume RUN]       train a multimodal deep Q-network; no option needed
  spl train classifier [--resume RUN]  train a residual network with attention; no option needed
  spl pretrain autoencoder --data DIR  one code for what is seen and heard; DIR of spl record
  spl evaluate agent RUN               its return with all modalities, one, noise, a failing one
  spl evaluate classifier RUN          its scores on held-out images, class by class
  spl evaluate autoencoder RUN         errors from each sense, linear probes, retrieval
  spl explain agent RUN                what it looks at and listens to, and on which it acts
  spl explain classifier RUN [RUN ...]  what it looks at: maps over images, and their measures
  spl explain autoencoder RUN          from where in picture and sound its errors come
  spl ablate classifier [--resume RUN] attention modules over seeds: a table, a picture
  spl ablate curriculum [--of NAME]    curricula over seeds: of classifier, autoencoder or agent
  spl report RUN [RUN ...]             one page of a run, or of several side by side: report.html
  spl report curriculum RUN            which samples it learned when, the easiest and the hardest
  spl models [NAME ...]                networks and attention: parameters, operations, memory
  spl record --out FOLDER              roll an environment out into a recording
  spl film RUN                         an agent at work, with its whole sound and what it acted on
  spl presets                          options that travel with spl, for --config: atari, cifar10, ...
  spl envs [ID ...]                    what is registered, with each stream's shape and rate
  spl check env ID                     the environment checker: what is wrong, and the fix

Every command takes --config FILE.yaml (or a preset), then --a.b VALUE; --help lists its options and defaults.
--debug shows the traceback of a mistake; --version the version.
"""


def train_agent(argv: list[str]) -> int:
    """``spl train agent [--resume RUN] [options]``."""
    from spl.agents.pretrained import adopt_encoder
    from spl.agents.run import ALIASES, MAY_CHANGE, RUNS, TrainAgentConfig
    from spl.agents.train import train_agent as train

    config, resume = parse_run(TrainAgentConfig, argv, "spl train agent", ALIASES, MAY_CHANGE, RUNS)
    if resume is None:
        config = adopt_encoder(config, given_options(TrainAgentConfig, argv, aliases=ALIASES))
    return OK if train(config, resume=resume).is_finished else INTERRUPTED


def train_classifier(argv: list[str]) -> int:
    """``spl train classifier [--resume RUN] [options]``."""
    from spl.classify.report import print_result
    from spl.classify.run import ALIASES, MAY_CHANGE, RUNS, TrainClassifierConfig
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
    from spl.ablation.curricula import RUNS, Curricula, subject_of
    from spl.ablation.runner import ablate
    from spl.ablation.tables import print_measures
    from spl.agents import curricula as agent
    from spl.classify import curricula as classifier
    from spl.pretrain import curricula as autoencoder

    of, rest = subject_of(argv)
    subjects: Any = {"classifier": classifier, "autoencoder": autoencoder, "agent": agent}[of]
    prog = f"spl ablate curriculum --of {of}"
    for option in ("data.paths", "test.paths") if of == "autoencoder" else ():
        rest = join_paths(rest, subjects.ALIASES, option)
    config, resume = parse_run(
        subjects.CurriculaConfig, rest, prog, subjects.ALIASES, subjects.MAY_CHANGE, RUNS
    )
    subject = subjects.Learner(config)
    folder, is_finished, comparison = ablate(Curricula(subject), subject.name, resume=resume)
    if not is_finished:
        return INTERRUPTED
    print_measures(comparison, folder)
    return FAILURE if comparison.num_failed else OK


def pretrain_autoencoder(argv: list[str]) -> int:
    """``spl pretrain autoencoder [--resume RUN] [options]``."""
    from spl.pretrain.run import ALIASES, MAY_CHANGE, RUNS, PretrainConfig
    from spl.pretrain.train import pretrain_autoencoder as pretrain

    prog, argv = "spl pretrain autoencoder", join_paths(argv, ALIASES, "data.paths")
    config, resume = parse_run(PretrainConfig, argv, prog, ALIASES, MAY_CHANGE, RUNS)
    return OK if pretrain(config, resume=resume).is_finished else INTERRUPTED


def models(argv: list[str]) -> int:
    """``spl models [NAME ...] [options]``."""
    from spl.models import ModelsConfig, print_models

    words, rest = split_words(argv)
    if words and any(word.startswith("--model") for word in rest):
        raise UsageError("name the networks once: before the options, or with --model")
    names = ["--model", ",".join(words)] if words else []
    print_models(parse(ModelsConfig, [*names, *rest], prog="spl models [NAME ...]"))
    return OK


def record(argv: list[str]) -> int:
    """``spl record [options]``."""
    from spl.agents.record import RecordConfig
    from spl.agents.record import record as roll_out

    done = roll_out(parse(RecordConfig, argv, prog="spl record", aliases={"env": "env.id"}))
    print(f"{done['folder']}: {done['steps']:,} steps, {done['episodes']:,} whole episodes")
    return OK if done["is_finished"] else INTERRUPTED


def envs(argv: list[str]) -> int:
    """``spl envs [ID ...]``."""
    from spl.envs.catalog import ale_games, describe_envs
    from spl.report import print_table

    unknown = [word for word in argv if word.startswith("-") and word != "--help"]
    if unknown:
        raise UsageError(f"spl envs takes ids only, got {unknown[0]}")
    if "--help" in argv:
        print("spl envs [ID ...]: streams of our worlds and of installed games, or of the ids given")
        return OK
    columns = ["environment", "actions", "picture", "sound", "rate"]
    print_table("Environments", columns, describe_envs(argv))
    if not argv:
        print(textwrap.fill("ALE games: " + (" ".join(ale_games()) or "none installed"), width=100))
    return OK


def check_env(argv: list[str]) -> int:
    """``spl check env ID [options]``."""
    from spl.envs.checkup import CheckEnvConfig
    from spl.envs.doctor import check_env as check
    from spl.envs.doctor import print_findings

    if not argv or (argv[0].startswith("-") and argv[0] != "--help"):
        raise UsageError("give the environment's id: spl check env spl/Beacon-v0")
    words = argv if argv[0] == "--help" else ["--env.id", *argv]
    config = parse(CheckEnvConfig, words, prog="spl check env ID")
    findings = check(config)
    print_findings(config, findings)
    return FAILURE if any(finding.verdict == "fault" for finding in findings) else OK


def presets(argv: list[str]) -> int:
    """``spl presets``."""
    if argv == ["--help"]:
        print("spl presets: the options that travel with spl, for --config NAME, by command")
        return OK
    if argv:
        raise UsageError(f"spl presets takes no words, got {argv[0]}")
    print_presets()
    return OK


COMMANDS: dict[tuple[str, ...], Callable[[list[str]], int]] = {
    ("train", "agent"): train_agent,
    ("train", "classifier"): train_classifier,
    ("pretrain", "autoencoder"): pretrain_autoencoder,
    ("ablate", "classifier"): ablate_classifier,
    ("ablate", "curriculum"): ablate_curriculum,
    ("evaluate", "agent"): telling.evaluate_agent,
    ("evaluate", "classifier"): telling.evaluate_classifier,
    ("evaluate", "autoencoder"): telling.evaluate_autoencoder,
    ("report",): telling.report,
    ("report", "curriculum"): telling.report_curriculum,
    ("explain", "agent"): telling.explain_agent,
    ("explain", "classifier"): telling.explain_classifier,
    ("explain", "autoencoder"): telling.explain_autoencoder,
    ("models",): models,
    ("record",): record,
    ("film",): telling.film,
    ("presets",): presets,
    ("envs",): envs,
    ("check", "env"): check_env,
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
    """Return the command that ``argv`` names, and its own words."""
    for words, command in sorted(COMMANDS.items(), key=lambda item: -len(item[0])):  # the longest fit
        if tuple(argv[: len(words)]) == words:
            return command, argv[len(words) :]
    known = ", ".join("spl " + " ".join(words) for words in COMMANDS)
    raise UsageError(f"there is no command 'spl {' '.join(argv[:2])}'; there are {known}")


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
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(USAGE, end="")
        return OK
    if argv[0] == "--version":
        print(__version__)
        return OK
    calm_threads()
    sys.path.insert(0, "")  # so that --env module:Id finds a file beside the user, as python -m would
    try:
        command, rest = choose(argv)
        return command(["--help" if word == "-h" else word for word in rest])
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
