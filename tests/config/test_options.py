"""One name per option in every command: all options of all commands, side by side."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest

from spl.ablation.curriculum_options import SUBJECTS
from spl.agents.collectors.options import COLLECTORS
from spl.cli import main as cli
from spl.config import parse as config
from spl.config.options import Option, help_of, options_of
from spl.config.synonyms import CALLED, RENAMED

SECTIONED = {"name", "run"}  # of what, is said by the section, which is the short name: --model, --pretrained
RANGE = r" in \d+\.\.\d+| in [\[(][^\])]*[\])]| of at least \S+| above \S+"  # behind the noun of a number
LISTS = {"seeds", "weights"}  # which seeds of a grid (num_seeds: how many); which weights (weight: how much)
# Last part -> why its type follows from the command or the section.
DIFFERING = {
    "attention": "a grid and the table of networks take several",
    "method": "explain classifier takes several",
    "model": "the table of networks takes several",
    "name": "of what its section says",
    "groups": "labels of samples, or signs of rewards and actions",
    "order": "of samples, or of the parts of a module",
    "audio_features": "which they are, or how many",
    "films": "a section where they are cut, a folder where the cut is known",
    "to": "an address to push to, or a format to export to",
    "root": "a folder, or the exponent's inverse of a schedule of that name",
}


class Seen(NamedTuple):
    """One option of one command."""

    command: str
    name: str  # dotted
    kind: Any
    noun: str  # of any range
    text: str

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def seen(command: str, options: Iterable[tuple[str, Option]]) -> list[Seen]:
    """Return the options of a command."""
    return [
        Seen(
            command, name, one.kind, re.sub(RANGE, "", one.noun), help_of(one.owner, name.rpartition(".")[2])
        )
        for name, one in options
    ]


@pytest.fixture(scope="module")
def screens() -> dict[str, tuple[str, Any, list[Seen]]]:
    """Return of each command what its help begins with, what reads its words, and the options it lists."""
    found: dict[str, tuple[str, Any, list[Seen]]] = {}
    commands = {" ".join(words): (command, ["--help"]) for words, command in cli.COMMANDS.items()}
    grid, _ = commands.pop("ablate curriculum")
    commands |= {f"ablate curriculum --of {of}": (grid, ["--of", of, "--help"]) for of in SUBJECTS}
    with pytest.MonkeyPatch.context() as patch:
        for name, (command, words) in commands.items():

            def keep(reading: Any, prog: str, name: str = name) -> str:
                found[name] = (prog, reading, seen(name, reading.listed.items()))
                return ""

            patch.setattr(config._Reading, "help", keep)
            with contextlib.suppress(SystemExit):
                assert command.run(words) == 0  # of those that have no options
    return found


@pytest.fixture(scope="module")
def everything(screens: dict[str, tuple[str, Any, list[Seen]]]) -> list[Seen]:
    return [one for _, _, options in screens.values() for one in options]


def old_names(options: list[Seen]) -> Iterator[str]:
    """Yield options that bear a name of before, of something else that is called so now."""
    names = {one.name for one in options}
    for one in options:
        if one.name in RENAMED and RENAMED[one.name] in names and one.last not in LISTS:
            yield f"{one.command} --{one.name} is --{RENAMED[one.name]} now"


def others_words(options: list[Seen]) -> Iterator[str]:
    """Yield options that bear a synonym of another name."""
    for one in options:
        meant = [name.rpartition(".")[2] for name in CALLED.get(one.last, ())]
        if meant and one.last not in {*meant, *SECTIONED}:
            yield f"{one.command} --{one.name} is --{meant[0]} elsewhere"


def plurals(options: list[Seen]) -> Iterator[str]:
    """Yield options whose name is another one's but for an ``s`` or a ``num_``."""
    lasts = {one.last for one in options} - SECTIONED
    for one in options:
        for other in (f"{one.last}s", f"num_{one.last}"):
            if other in lasts and not {one.last, other} & (SECTIONED | LISTS):
                yield f"{one.command} --{one.name} is --{other} elsewhere"


def texts(options: list[Seen]) -> Iterator[str]:
    """Yield options with the same words and type, and another name."""
    found: dict[tuple[str, str], dict[str, Seen]] = defaultdict(dict)
    for one in options:
        if len(one.text.split()) > 2:  # not "of that"
            found[one.text, one.noun].setdefault(one.last, one)
    for same in found.values():
        if len(same) > 1:
            yield " and ".join(f"{one.command} --{one.name}" for one in same.values()) + " say the same"


def choices(options: list[Seen]) -> Iterator[str]:
    """Yield options with the same choices, and another name."""
    found: dict[frozenset[Any], dict[str, Seen]] = defaultdict(dict)
    for one in options:
        if get_origin(one.kind) is Literal and len(get_args(one.kind)) > 1:
            found[frozenset(get_args(one.kind))].setdefault(one.last, one)
    for same in found.values():
        if len(same) > 1:
            yield " and ".join(f"{one.command} --{one.name}" for one in same.values()) + " choose the same"


def kinds(options: list[Seen]) -> Iterator[str]:
    """Yield options of one name and several types, where no reason is known."""
    found: dict[str, dict[str, Seen]] = defaultdict(dict)
    for one in options:
        noun = re.sub("one of '.*'|true or false", "a choice", one.noun).removesuffix(" or null")
        found[one.last].setdefault(noun, one)
    for last, same in found.items():
        if len(same) > 1 and last not in DIFFERING:
            told = " and ".join(f"{one.command} --{one.name} ({noun})" for noun, one in same.items())
            yield f"{told} are of one name"


def paths(options: list[Seen]) -> Iterator[str]:
    """Yield options that name a file or folder and may be empty."""
    for one in options:
        if "a string" in one.noun and {"folder", "folders", "file", ".npy"} & set(one.text.split()[:2]):
            yield f"{one.command} --{one.name} is a path: PathName"


CHECKS: tuple[Callable[[list[Seen]], Iterator[str]], ...] = (
    old_names,
    others_words,
    plurals,
    texts,
    choices,
    kinds,
    paths,
)


@pytest.mark.parametrize("check", CHECKS)
def test_equal_things_have_equal_names(check: Any, everything: list[Seen]) -> None:
    assert list(check(everything)) == []


@dataclass(frozen=True, kw_only=True)
class Relapse:
    """What each of the checks must find."""

    num_shown: int = 4  # samples that are looked at
    lr: float = 0.1  # of its optimizer
    episodes: int = 3  # at the very most
    length: float = 5.0  # that a film may have, at the most
    rollouts: int = 7  # agent decisions, summed over all environments
    hearing: Literal["both", "video", "audio"] = "both"  # what it may use
    seed: float = 0.5  # of everything
    place: str = "there"  # folder of that


@pytest.mark.parametrize(
    ("check", "name"),
    [*zip(CHECKS, ("num_shown", "lr", "episodes", "rollouts", "hearing", "seed", "place"), strict=True)],
)
def test_a_relapse_is_found(check: Any, name: str, everything: list[Seen]) -> None:
    told = list(check([*everything, *seen("relapse", options_of(Relapse))]))
    assert any(f"relapse --{name} " in sentence for sentence in told), told


def test_every_option_says_what_it_is(everything: list[Seen]) -> None:
    assert [f"{one.command} --{one.name}" for one in everything if not one.text] == []


def test_help_begins_with_what_the_list_of_commands_says(
    screens: dict[str, tuple[str, Any, list[Seen]]], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, command in cli.COMMANDS.items():
        usage = " ".join(("spl", *words, command.usage)).strip()
        for name, (prog, _, _) in screens.items():
            if name.startswith(" ".join(words)) and words[0] != "ablate" and name != "report curriculum":
                assert prog == usage, name


def test_every_synonym_leads_to_an_option(everything: list[Seen]) -> None:
    names = {one.name for one in everything} | {one.last for one in everything} | {"resume"}
    names |= {name.rpartition(".")[0] for name in names}  # sections
    assert {name for meant in CALLED.values() for name in meant} <= names
    keys = {name for name in RENAMED.values() if name.startswith("vary.")}  # of an option that is a mapping
    assert set(RENAMED.values()) - keys <= names
    assert "vary" in names


def test_grids_list_no_option_that_they_refuse(screens: dict[str, tuple[str, Any, list[Seen]]]) -> None:
    decided = {
        "ablate classifier": {"model.attention", "seed", "restarts"},
        "ablate agent": {"seed", "restarts", *COLLECTORS},
        "search agent": {"restarts", "ray", *COLLECTORS},
        "bench": {"restarts", "runs", "track", "ray", *COLLECTORS},
        **{
            f"ablate curriculum --of {of}": {"seed", "curriculum.name", "of"}
            | ({"curriculum.difficulty"} if of != "agent" else set(COLLECTORS))
            for of in SUBJECTS
        },
    }
    for name, hidden in decided.items():
        _, reading, options = screens[name]
        assert set(reading.options) - {one.name for one in options} == hidden
        for option in hidden - {"of", "curriculum.name", "model.attention", "curriculum.difficulty"}:
            space = ["--space", "space.yaml"] if name == "search agent" else []
            value = {"track": "wandb", "ordered": "true"}.get(option, "3")
            words = [f"--{option}", value, *space]
            with pytest.raises(config.UsageError, match="leave"):
                config.parse(type_of(name), words, prog="spl")
    for name in screens.keys() - decided.keys():
        assert screens[name][1].options.keys() == {one.name for one in screens[name][2]}


def type_of(name: str) -> Any:
    """Return the dataclass of a grid."""
    from spl.agents.bench import BenchConfig
    from spl.agents.studies import curriculum_ablation as agent
    from spl.agents.studies.ablation import AblateAgentConfig
    from spl.agents.studies.search import SearchAgentConfig
    from spl.classify import curriculum_ablation as classifier
    from spl.classify.ablation.grid import AblateClassifierConfig
    from spl.pretrain.studies import curriculum_ablation as autoencoder

    if name == "ablate classifier":
        return AblateClassifierConfig
    of_agents = {"search agent": SearchAgentConfig, "bench": BenchConfig, "ablate agent": AblateAgentConfig}
    if name in of_agents:
        return of_agents[name]
    of = name.rpartition(" ")[2]
    return {"agent": agent, "classifier": classifier, "autoencoder": autoencoder}[of].CurriculaConfig


def test_every_option_is_checked_where_it_is_set_in_python_too(screens: dict[str, Any]) -> None:
    classes = {option.owner for _, reading, _ in screens.values() for option in reading.options.values()}
    assert len(classes) > 20
    unchecked = []
    for one in classes:
        needed = {field.name: "x" for field in fields(one) if field.default is field.default_factory}
        for field in fields(one):
            try:
                one(**{**needed, field.name: object()})
                unchecked.append(f"{one.__name__}.{field.name}")
            except Exception as error:
                if not re.search(rf"\b{field.name} must be .*<object object", str(error)):
                    unchecked.append(f"{one.__name__}.{field.name}: {error}")
    assert not unchecked, "\n".join(unchecked)
