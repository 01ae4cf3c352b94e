"""Tests of `spl.config.parse`: what a user may write, and what each mistake is answered with."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

import pytest

from spl.config.errors import UsageError
from spl.config.parse import difference, dump, from_dict, given_options, parse, to_dict


@dataclass(frozen=True, kw_only=True)
class Memory:
    capacity: int = field(default=100, metadata={"help": "transitions"})
    min_size: int = 10  # transitions before the first update

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.capacity:
            raise ValueError(f"min_size must be in 1..capacity ({self.capacity}), got {self.min_size}")


@dataclass(frozen=True, kw_only=True)
class Env:
    id: str = "Beacon-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Agent:
    rate: float = 0.1
    epsilon_end: float | None = 0.05
    loss: Literal["huber", "off", "on"] = "huber"
    is_double: bool = False
    hidden: tuple[int, ...] = (64,)
    size: tuple[int, int] = (84, 84)
    seed: int | None = None
    rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Config:
    num_steps: int = 1000
    note: str = ""
    env: Env = field(default_factory=lambda: Env(kwargs={"sense": "both"}))
    memory: Memory = Memory(capacity=50)
    agent: Agent = field(default_factory=Agent)


@dataclass(frozen=True, kw_only=True)
class Needy:
    id: str


@dataclass(frozen=True, kw_only=True)
class Heir(Memory):
    num_heirs: int = 2  # of the class itself
    min_size: int = 3  # said again


ALIASES = {"env": "env.id"}


def read(*argv: str) -> Config:
    return parse(Config, argv, prog="spl train agent", aliases=ALIASES)


def mistakes(*argv: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(*argv)
    return str(caught.value).splitlines()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def _write(text: str, name: str = "my.yaml") -> str:
        Path(name).write_text(text, encoding="utf-8")
        return name

    return _write


def test_nothing_given_is_the_default() -> None:
    assert read() == Config()
    assert read().memory.capacity == 50  # the outer default, not the section's own


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        ("--num_steps 2e5", "num_steps", 200_000),
        ("--num_steps 200_000", "num_steps", 200_000),
        ("--agent.rate 1e-4", "agent.rate", 1e-4),
        ("--agent.rate=3", "agent.rate", 3.0),
        ("--agent.rate .inf", "agent.rate", inf),
        ("--agent.epsilon_end null", "agent.epsilon_end", None),
        ("--agent.seed -5", "agent.seed", -5),
        ("--agent.loss off", "agent.loss", "off"),
        ("--note on", "note", "on"),
        ("--note 12", "note", "12"),
        ("--note=a=b", "note", "a=b"),
        ("--agent.is_double", "agent.is_double", True),
        ("--agent.is_double on", "agent.is_double", True),
        ("--agent.hidden 84,84", "agent.hidden", (84, 84)),
        ("--agent.hidden [32]", "agent.hidden", (32,)),
        ("--agent.hidden 1,", "agent.hidden", (1,)),
        ("--agent.hidden []", "agent.hidden", ()),
        ("--agent.size (8,9)", "agent.size", (8, 9)),
        ("--agent.rates.a 1", "agent.rates", {"a": 1.0}),
        ("--env Other-v0", "env.id", "Other-v0"),
        ("--num_steps 1 --num_steps 2", "num_steps", 2),
        ("--num-steps 3", "num_steps", 3),
        ("--agent.epsilon-end=0", "agent.epsilon_end", 0.0),
        ("--agent.is-double", "agent.is_double", True),
    ],
)
def test_a_word_becomes_the_type_of_its_field(words: str, key: str, expected: object) -> None:
    changed = difference(Config(), read(*words.split()))
    assert {name: after for name, (_, after) in changed.items()} == {key: expected}
    assert type(changed[key][1]) is type(expected)


def test_hyphens_stay_where_the_name_as_written_is_known_and_in_mistakes() -> None:
    assert read("--env.kwargs.frame-skip", "4").env.kwargs["frame-skip"] == 4
    assert mistakes("--num-stps", "3") == ["unknown option --num-stps (did you mean --num_steps?)"]
    assert mistakes("--num-steps", "x") == ["--num_steps must be an int, got 'x'"]


def test_false_flags_and_empty_words() -> None:
    assert read("--agent.is_double", "--agent.is_double", "no").agent.is_double is False
    assert read("--note", "x", "--note", "").note == ""


def test_dict_fields_take_any_sub_key() -> None:
    words = "--env.kwargs.a 1e-4 --env.kwargs.b 7 --env.kwargs.c true --env.kwargs.d off --env.kwargs.e [1,x]"
    config = read(*words.split(), "--env.kwargs.f", "'1'", "--env.kwargs.g", "null")
    expected = {"a": 1e-4, "b": 7, "c": True, "d": "off", "e": [1, "x"], "f": "1", "g": None}
    assert config.env.kwargs == {"sense": "both", **expected}
    assert Config().env.kwargs == {"sense": "both"}
    assert read("--env.kwargs", "{}").env.kwargs == {}
    assert read("--env.kwargs={}", "--env.kwargs.a", "1").env.kwargs == {"a": 1}
    assert read("--note", "{}").note == "{}", "only a mapping is cleared"


def test_yaml_is_overridden_by_words_and_later_files_win(write: Callable[..., str]) -> None:
    first = write("num_steps: 1\nagent: {rate: 1e-3, loss: off, is_double: yes}\nenv: A-v0\n", "first.yaml")
    second = write("num_steps: 2\nenv:\n  kwargs: {a: 1}\nmemory:\n  # capacity: 1\n", "second.yaml")
    config = read("--agent.rate", "0.5", "--config", first, "--env.kwargs.b", "2", "--config", second)
    assert (config.num_steps, config.agent.rate, config.agent.loss) == (2, 0.5, "off")
    assert (config.agent.is_double, config.env.id) == (True, "A-v0")
    assert config.env.kwargs == {"a": 1, "b": 2}  # a mapping replaces the default, a word adds to it


def test_what_was_given_is_told_even_where_it_is_the_default(write: Callable[..., str]) -> None:
    file = write("num_steps: 1000\nmemory:\n  capacity: 5\n")
    words = ["--config", file, "--env", "Beacon-v0", "--env.kwargs.speed", "2"]
    told = {"num_steps", "memory.capacity", "env.id", "env.kwargs"}
    assert given_options(Config, words, aliases=ALIASES) == told
    assert given_options(Config, []) == set()


def test_yaml_values(write: Callable[..., str]) -> None:
    text = "note: no\nagent:\n  epsilon_end:\n  hidden:\n  - 1\n  - 2\n  size: [3, 4]\nagent.seed: 5\n"
    config = read("--config", write(text))
    assert (config.note, config.agent.epsilon_end, config.agent.hidden) == ("no", None, (1, 2))
    assert (config.agent.size, config.agent.seed) == ((3, 4), 5)
    assert read("--config", write("")) == Config()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("agent.seed: 1\nagent: {seed: 2}\n", "'agent.seed' in my.yaml is there twice: leave one out"),
        ("agent: {seed: 2}\nagent.seed: 1\n", "'agent.seed' in my.yaml is there twice: leave one out"),
        (
            "env: A-v0\nenv.id: B-v0\n",
            "'env' and 'env.id' in my.yaml are one option: leave one out",
        ),
        (
            "num-steps: 1\nnum_steps: 1\n",
            "'num-steps' and 'num_steps' in my.yaml are one option: leave one out",
        ),
        (
            "env.kwargs.a: 1\nenv: {kwargs: {b: 2}}\n",
            "'env.kwargs.a' and 'env.kwargs' in my.yaml are one option: leave one out",
        ),
        ("agent: 5\n", "'agent' in my.yaml must hold options below it, got '5'"),
        ("agent: []\n", "'agent' in my.yaml must hold options below it, got []"),
    ],
)
def test_a_file_sets_an_option_once_and_a_section_by_its_options(
    write: Callable[..., str], text: str, sentence: str
) -> None:
    assert mistakes("--config", write(text)) == [sentence]


def test_keys_of_a_mapping_may_stand_apart_in_a_file(write: Callable[..., str]) -> None:
    file = write("env.kwargs.a: 1\nenv.kwargs.b: 2\nagent:\nmemory: null\n")
    expected = {"sense": "both", "a": 1, "b": 2}  # added to the default
    assert read("--config", file).env.kwargs == expected
    assert read("--config", file, "--config", file).env.kwargs == expected


def test_all_unknown_keys_are_told_with_the_nearest(write: Callable[..., str]) -> None:
    file = write("memory: {capacty: 3}\nwhatever: {a: 1}\nmemry: {capacity: 1}\n")
    assert mistakes("--config", file, "--agent.epsiln_end", "0.1", "--zzz") == [
        "unknown key 'memory.capacty' in my.yaml (did you mean memory.capacity?)",
        "unknown key 'whatever' in my.yaml (see --help)",
        "unknown key 'memry' in my.yaml (did you mean memory?)",
        "unknown option --agent.epsiln_end (did you mean --agent.epsilon_end?)",
        "unknown option --zzz (see --help)",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--memory.capacity many", "--memory.capacity must be an int, got 'many'"),
        ("--num_steps 1.5", "--num_steps must be an int, got '1.5'"),
        ("--num_steps .inf", "--num_steps must be an int, got '.inf'"),
        ("--num_steps true", "--num_steps must be an int, got 'true'"),
        ("--agent.rate fast", "--agent.rate must be a number, got 'fast'"),
        ("--agent.seed x", "--agent.seed must be an int or null, got 'x'"),
        ("--agent.loss no", "--agent.loss must be one of 'huber', 'off', 'on', got 'no'"),
        ("--agent.is_double maybe", "--agent.is_double must be true or false, got 'maybe'"),
        ("--agent.hidden 1,x", "--agent.hidden must be a list, each an int, got '1,x'"),
        ("--agent.hidden 1,,2", "--agent.hidden must be a list, each an int, got '1,,2'"),
        ("--agent.size 84", "--agent.size must be a list of 2, each an int, got '84'"),
        (
            "--env.kwargs 5",
            "--env.kwargs must be a mapping, got '5'; write --env.kwargs.KEY VALUE for each key",
        ),
        ("--note null", "--note must be a string, got None"),
        ("foo", "unexpected argument 'foo'; write options as --name value"),
        ("--agent.seed", "--agent.seed must be followed by a value, got nothing"),
        ("--config", "--config must be followed by a value, got nothing"),
        ("--memory.capacity 0", "memory: min_size must be in 1..capacity (0), got 10"),
        ("--memory 5", "unknown option --memory (did you mean --memory.capacity or --memory.min_size?)"),
    ],
)
def test_each_mistake_is_one_clear_sentence(words: str, sentence: str) -> None:
    assert mistakes(*words.split()) == [sentence]


def test_an_int_beyond_any_float_is_no_number() -> None:
    digits = "1" + 400 * "0"
    told = f"'{digits[:99]} ... {digits[-59:]}'"
    assert mistakes("--agent.rate", digits) == [f"--agent.rate must be a number, got {told}"]


def test_mistakes_of_several_sections_are_told_together(write: Callable[..., str]) -> None:
    file = write("memory: {capacity: 1}\nnum_steps: [1]\nenv: {kwargs: 3}\n")
    assert mistakes("--config", file, "--agent.rate", "0") == [
        "'num_steps' in my.yaml must be an int, got ['1']",
        "'env.kwargs' in my.yaml must be a mapping, got '3'",
        "memory: min_size must be in 1..capacity (1), got 10",
        "agent: rate must be positive, got 0.0",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- 1\n", "my.yaml must hold a YAML mapping such as 'seed: 1', got a list"),
        ("hello\n", "my.yaml must hold a YAML mapping such as 'seed: 1', got 'hello'"),
        ("num_steps: 1\nnote: [\n", "my.yaml line 3: expected a YAML file of options, got: "),
        ("a: !!python/object:os.system x\n", "my.yaml line 1: expected a YAML file of options, got: "),
        ("note: !!int x\n", "my.yaml line 1: expected a YAML file of options, got: "),
        ("note: a\x00\n", "my.yaml: expected a YAML file of options, got: unacceptable character"),
        (
            "note: a\nnum_steps: 1\nnote: b\n",
            "my.yaml line 3: expected a YAML file of options, got: the key 'note' twice",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_line(write: Callable[..., str], text: str, part: str) -> None:
    (sentence,) = mistakes("--config", write(text))
    assert sentence.startswith(part)


def test_a_missing_file_and_a_folder_are_named(write: Callable[..., str]) -> None:
    assert mistakes("--config", "no.yaml", "--config", ".", "--bad=1") == [
        "no.yaml: expected a YAML file of options, got: No such file or directory",
        ".: expected a YAML file of options, got: a folder",
        "unknown option --bad (see --help)",
    ]


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"^--id must be given: a string$"):
        parse(Needy, [], prog="spl")
    assert parse(Needy, ["--id", "x"], prog="spl") == Needy(id="x")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "usage: spl train agent" in text
    assert "  --memory.capacity 50\n      transitions -- an int\n" in text  # from the metadata
    assert (
        "  --memory.min_size 10\n      transitions before the first update -- an int\n" in text
    )  # the comment
    assert "  --agent.size 84,84\n" in text
    assert "  --agent.is_double false\n" in text
    assert "  --env.id, --env Beacon-v0\n" in text
    assert all(f"--agent.{name}" in text for name in Agent.__dataclass_fields__)


def test_help_of_an_inherited_option_is_the_comment_where_it_was_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Late(Env, Heir):
        pass

    with pytest.raises(SystemExit):
        parse(Late, ["--help"], prog="spl")
    text = capsys.readouterr().out
    assert "  --capacity 100\n      transitions -- an int\n" in text  # from the metadata
    assert "  --min_size 3\n      said again -- an int\n" in text
    assert "  --num_heirs 2\n      of the class itself -- an int\n" in text


def test_a_dump_reads_back_equal(write: Callable[..., str]) -> None:
    kwargs = {"a": "1e5", "b": "off", "c": 1e-5, "d": -inf, "e": "null", "f": "", "g": [1, "2", None, True]}
    kwargs |= {"h": "inf", "i": "010", "j": "a: b", "k": "[x]", "l": "True", "m": " x\n\ny", "n": {"1": "~"}}
    config = Config(note="no", agent=Agent(hidden=(), size=(1, 2), epsilon_end=None), env=Env(kwargs=kwargs))
    assert read("--config", write(dump(config))) == config
    assert from_dict(Config, to_dict(config)) == config
    empty = Config(env=Env(kwargs={}))
    assert read("--config", write(dump(empty))) == empty


def test_from_dict_is_as_strict() -> None:
    with pytest.raises(UsageError) as caught:
        from_dict(Config, {"num_steps": True, "memory": {"capacty": 1}, "note": 3, "env": {"id": None}})
    assert str(caught.value).splitlines() == [
        "unknown key 'memory.capacty' (did you mean memory.capacity?)",
        "'num_steps' must be an int, got True",
        "'note' must be a string, got 3",
        "'env.id' must be a string, got None",
    ]


def test_difference_names_the_dotted_keys() -> None:
    assert difference(Config(), Config()) == {}
    changed = read("--agent.rate", "1", "--num_steps", "5")
    assert difference(Config(), changed) == {"num_steps": (1000, 5), "agent.rate": (0.1, 1.0)}


def test_a_type_that_no_option_can_have_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        when: complex = 0j

    with pytest.raises(TypeError, match="got <class 'complex'>"):
        parse(Odd, [], prog="spl")


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, spl.config.parse; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
