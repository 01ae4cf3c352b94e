"""The command line: the table of commands, how words select one, and how errors end.

The commands are functions in the modules beside it, each of which imports what it needs when it is chosen.
"""

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from spl import __version__
from spl.cli import ablate, catalogs, environments, evaluate, explain, export, report, show, train
from spl.cli.run_arguments import FAILURE, INTERRUPTED, MISTAKE, OK
from spl.cli.suggestions import Command, group, table, unknown
from spl.config.errors import RunError, UsageError, lack_of_memory
from spl.config.synonyms import either
from spl.printable import printable, printable_lines
from spl.processes.ranks import followed, num_launched
from spl.processes.signals import end_at_second_ctrl_c, leave
from spl.runs.commit import describe_version

HEAD = "spl: reinforcement learning, pretraining and classification on video and audio\n"
FOOT = """
--help after a command lists its options and defaults; after a first word, the commands that begin with it.
Options are --a.b VALUE and override --config FILE.yaml or a preset. --debug shows the traceback of an error.
--version shows the version and the commit.
"""
HELP = ("--help", "-h", "help")
SHARED = (train.train_classifier, train.pretrain_autoencoder)  # by the processes of torchrun


COMMANDS: dict[tuple[str, ...], Command] = {
    ("train", "agent"): Command(train.train_agent, "[ENV]", "train a multimodal deep Q-network"),
    ("train", "classifier"): Command(
        train.train_classifier, "", "train a residual or light network with attention"
    ),
    ("pretrain", "autoencoder"): Command(
        train.pretrain_autoencoder,
        "FOLDER ...",
        "learn a joint audio-visual representation",
    ),
    ("evaluate", "agent"): Command(
        evaluate.evaluate_agent, "RUN", "returns with both modalities, one alone, noisy or failing"
    ),
    ("evaluate", "classifier"): Command(
        evaluate.evaluate_classifier, "RUN", "scores on held-out images, overall and by class"
    ),
    ("evaluate", "autoencoder"): Command(
        evaluate.evaluate_autoencoder, "RUN ...", "reconstruction errors, linear probes, retrieval"
    ),
    ("explain", "agent"): Command(
        explain.explain_agent, "RUN", "where in video and audio an agent's decisions come from"
    ),
    ("explain", "classifier"): Command(
        explain.explain_classifier, "RUN ...", "saliency maps over images, and measures of the maps"
    ),
    ("explain", "autoencoder"): Command(
        explain.explain_autoencoder, "RUN", "where in video and audio reconstruction errors come from"
    ),
    ("ablate", "classifier"): Command(
        ablate.ablate_classifier, "", "compare attention modules over seeds: a table and a figure"
    ),
    ("ablate", "agent"): Command(
        ablate.ablate_agent, "[ENV] --vary.OPTION A,B", "compare options of an agent over seeds"
    ),
    ("ablate", "curriculum"): Command(
        ablate.ablate_curriculum, "[--of NAME]", "compare curricula over seeds: a table and a figure"
    ),
    ("search", "agent"): Command(
        ablate.search_agent, "[ENV] --space FILE", "search for the best training options over seeds"
    ),
    ("bench",): Command(train.bench, "[ENV]", "measure how fast an agent trains on this machine"),
    ("report",): Command(
        report.report, "RUN ...", "write one HTML page about a run, or several side by side"
    ),
    ("report", "curriculum"): Command(
        report.report_curriculum, "RUN", "when each sample was learned from; easiest and hardest"
    ),
    ("film",): Command(explain.film, "RUN", "film an agent playing, with its sound and saliency maps"),
    ("watch",): Command(
        explain.watch, "RUN | ENV --human", "watch an agent play in a window, with sound; or play yourself"
    ),
    ("export", "agent"): Command(
        export.export_agent, "RUN", "write an agent as one file that plays without spl"
    ),
    ("push",): Command(export.push, "RUN --to hub:USER/NAME", "push an agent to the Hugging Face Hub"),
    ("record",): Command(
        environments.record, "[ENV]", "record an environment's video and audio into a folder"
    ),
    ("show", "data"): Command(
        show.show_data, "NAME|PATH ...", "draw samples of a dataset: pictures, spectrograms of sound"
    ),
    ("models",): Command(
        catalogs.models, "[NAME ...]", "list networks with parameters, operations and memory"
    ),
    ("envs",): Command(environments.envs, "[ENV ...]", "list environments and their streams"),
    ("check", "env"): Command(environments.check_env, "ENV", "diagnose an environment and suggest fixes"),
    ("presets",): Command(catalogs.presets, "", "list the option files that come with spl, for --config"),
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
            is_first = num_launched() == 1 or os.environ["RANK"] == "0"
            return leave(main(sys.argv[1:]) if is_first else followed(lambda: main(sys.argv[1:])))
    is_debugging = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    if not argv or (argv[0] in HELP and len(argv) == 1):
        print(HEAD, table(COMMANDS), FOOT, sep="\n", end="")
        return OK
    if argv[0] in HELP:
        argv = [*argv[1:], "--help"]
    if argv[0] == "--version":
        print(describe_version(__version__, Path(__file__).parents[1]))
        return OK
    calm_threads()
    try:
        command, rest = choose(argv)
        if num_launched() > 1 and command not in SHARED:
            raise UsageError(
                f"{num_launched()} processes of torchrun can share spl train classifier and spl pretrain "
                "autoencoder, and no other command: start this one without torchrun"
            )
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
        if not is_debugging and (why := lack_of_memory(error)) is not None:
            print(f"spl: the memory does not suffice: {printable_lines(why)}", file=sys.stderr)
            return FAILURE
        traceback.print_exc()
        print(f"spl: failed with {type(error).__name__}: {printable_lines(str(error))}", file=sys.stderr)
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
