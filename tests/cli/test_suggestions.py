"""Which command mistyped words may mean, and the lists that help shows."""

import pytest

from spl.cli import main as cli
from spl.cli.suggestions import nearest

GROUP = ["spl train agent [ENV]", "spl train classifier"]


@pytest.mark.parametrize("words", ["train --help", "train -h", "help train", "--help train"])
def test_help_of_a_first_word_lists_its_commands(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(words.split())
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr()
    assert code == 0
    assert [line[2:38].strip() for line in told.out.splitlines()] == GROUP
    assert told.err == ""


@pytest.mark.parametrize("words", ["train", "train --num_steps 5"])
def test_a_missing_word_is_a_mistake_and_lists_what_it_may_be(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    *listed, sentence = told.err.splitlines()
    assert [line[2:38].strip() for line in listed] == GROUP
    assert sentence == "spl: spl train needs one more word: agent or classifier"


@pytest.mark.parametrize("words", ["train agent -h", "help train agent", "train agent --num_envs 3 --help"])
def test_help_of_a_command_lists_its_options(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words.split())
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: spl train agent [ENV] [--config FILE.yaml]")
    assert "  --resume RUN\n" in told


def test_a_command_that_begins_others_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["report", "--help"])
    told = capsys.readouterr().out
    assert "spl report curriculum RUN" in told
    assert "--max_mib" in told


MEANT = {
    "trian agent": ["spl train agent"],
    "train agnet": ["spl train agent"],
    "agent train": ["spl train agent"],
    "train-agent": ["spl train agent"],
    "Train Agent": ["spl train agent"],
    "train_clasifier": ["spl train classifier"],
    "evalute agent runs/x": ["spl evaluate agent runs/x"],
    "eval agent runs/x": ["spl evaluate agent runs/x"],
    "evaluate runs/agent/Pong-s0": ["spl evaluate agent runs/agent/Pong-s0"],
    "explain ./runs/classifier/a/": ["spl explain classifier ./runs/classifier/a/"],
    "evaluate somewhere": [f"spl evaluate {of} somewhere" for of in ("agent", "classifier", "autoencoder")],
    "pretrain recordings/pong": ["spl pretrain autoencoder recordings/pong"],
    "check ALE/Pong-v5 --raw": ["spl check env ALE/Pong-v5"],
    "doctor ALE/Pong-v5": ["spl check env ALE/Pong-v5"],
    "enjoy runs/x": ["spl watch runs/x"],
    "list": ["spl envs"],
    "list envs": ["spl envs"],
    "config": ["spl presets"],
    "ablation curriculum": ["spl ablate curriculum"],
    "curriculum": ["spl ablate curriculum", "spl report curriculum"],
    "xyzzy": [],
    "xyzzy plugh": [],
}


@pytest.mark.parametrize("typed", MEANT)
def test_mistyped_words_name_the_nearest_command(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert nearest(cli.COMMANDS, typed.split()) == MEANT[typed]
    assert cli.main(typed.split()) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert len(sentence) < 220
    assert sentence.startswith("spl: there is no command 'spl ")
    assert all(repr(name) in sentence for name in MEANT[typed])
    assert MEANT[typed] or sentence.endswith("; spl --help lists them")


def test_an_option_without_a_command_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--env", "ALE/Pong-v5"]) == 2
    assert capsys.readouterr().err.startswith("spl: there is no option --env of spl itself; name a command")


def test_every_command_is_listed_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for words, command in cli.COMMANDS.items():
        name = " ".join(("spl", *words, command.usage)).strip()
        assert any(line.startswith(f"  {name} ") and line.endswith(command.purpose) for line in lines), name
    assert max(map(len, lines)) <= 110
