"""Presets: found by name from any folder, after files, and listed where a name is wrong."""

import re
from pathlib import Path

import pytest

from spl.agents.config import TrainAgentConfig
from spl.agents.studies import curriculum_ablation as agent_curricula
from spl.agents.studies.search import SearchAgentConfig
from spl.classify import curriculum_ablation as classifier_curricula
from spl.classify.ablation.grid import AblateClassifierConfig
from spl.classify.config import TrainClassifierConfig
from spl.cli import main as cli
from spl.config import presets
from spl.config.errors import UsageError
from spl.config.parse import given_options, parse
from spl.config.presets import find_preset, headline, presets_of
from spl.pretrain.config import PretrainConfig
from spl.pretrain.studies import curriculum_ablation as autoencoder_curricula

ROOT = Path(__file__).parents[2]
BY_COMMAND = {
    "spl train agent": (TrainAgentConfig, agent_curricula.CurriculaConfig, SearchAgentConfig),
    "spl train classifier": (
        TrainClassifierConfig,
        AblateClassifierConfig,
        classifier_curricula.CurriculaConfig,
    ),
    "spl pretrain autoencoder": (PretrainConfig, autoencoder_curricula.CurriculaConfig),
}
RECORDING = ["--data.paths", "x"]
NEEDED = {
    SearchAgentConfig: ["--space", "x"],
    AblateClassifierConfig: ["--model.attention", "none"],
    PretrainConfig: RECORDING,
    autoencoder_curricula.CurriculaConfig: [*RECORDING, "--recipe.epochs", "16"],
}
CASES = [
    (config_class, command, name)
    for command, classes in BY_COMMAND.items()
    for config_class in classes
    for name in presets_of(command)
]


def test_every_file_of_the_checkout_is_a_preset_of_one_command():
    found = [path for command in BY_COMMAND for path in presets_of(command).values()]
    assert len(found) == len(set(found))
    assert {path.resolve() for path in found} == {
        path for path in ROOT.glob("configs/**/*") if path.is_file()
    }
    assert set(presets.FOLDERS) == set(BY_COMMAND)


@pytest.mark.parametrize(("config_class", "command", "name"), CASES)
def test_each_command_takes_its_presets_by_name(config_class, command, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_class.presets_of == command
    needed = NEEDED.get(config_class, [])
    path = presets_of(command)[name]
    config = parse(config_class, ["--config", name, *needed], prog=command)
    assert config == parse(config_class, ["--config", str(path), *needed], prog=command)
    assert given_options(config_class, ["--config", name])
    with_folder = f"{path.parent.name}/{path.stem}"
    assert config == parse(config_class, ["--config", with_folder, *needed], prog=command)


@pytest.mark.parametrize("command", BY_COMMAND)
def test_each_says_in_its_first_line_what_it_is_for(command):
    told = [headline(path) for path in presets_of(command).values()]
    assert all(re.fullmatch(r"[A-Z].{20,104}\.", line) for line in told), told
    assert len(told) == len(set(told))


def test_a_file_of_that_name_wins_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doom").mkdir()
    (tmp_path / "atari").write_text("num_steps: 7\n")
    by_file = parse(TrainAgentConfig, ["--config", "atari"], prog="spl train agent")
    assert (by_file.num_steps, by_file.env.id) == (7, "spl/Beacon-v0")
    by_name = parse(TrainAgentConfig, ["--config", "doom", "--config", "atari"], prog="spl train agent")
    assert (by_name.num_steps, by_name.env.id) == (7, "VizdoomBasicAudio-v1")  # later ones win


@pytest.mark.parametrize(
    ("config_class", "name", "nearest"),
    [
        (TrainAgentConfig, "atarri", "atari, smoke/atari"),
        (TrainAgentConfig, "Greetings", "greeting"),
        (TrainAgentConfig, "configs/agent/mdqm.yaml", "mdqn, smoke/mdqn"),
        (TrainClassifierConfig, "cifar", "cifar10, cifar100"),
        (TrainClassifierConfig, "atari", ""),
        (PretrainConfig, "video", "videos, dense"),
    ],
)
def test_a_wrong_name_lists_the_right_ones_nearest_first(config_class, name, nearest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        parse(config_class, ["--config", name], prog="spl")
    command = config_class.presets_of
    expected = rf"expected a YAML file of options or a preset of {command} \((.*)\), got: No such file"
    told = re.match(f"{re.escape(name)}: {expected}", str(refused.value))
    assert told is not None
    assert told[1].startswith(nearest)
    assert sorted(told[1].split(", ")) == sorted(presets_of(command))


@pytest.mark.parametrize(
    "name", ["../agent/atari", "agent/agent/atari", "smoke/greeting", "", ".", "atari.yaml"]
)
def test_nothing_else_is_taken_for_a_name(name):
    assert find_preset(name, "spl train agent") is None


def test_a_broken_file_is_not_taken_for_a_wrong_name(tmp_path):
    (tmp_path / "my.yaml").write_text("num_steps: [\n")
    with pytest.raises(UsageError, match=r"my\.yaml line 2: expected a YAML file of options, got: "):
        parse(TrainAgentConfig, ["--config", str(tmp_path / "my.yaml")], prog="spl")


def test_presets_are_shown_by_command(capsys):
    assert cli.main(["presets"]) == 0
    told = capsys.readouterr().out
    groups = re.split(r"^(spl .*) --config NAME$", told, flags=re.M)
    assert groups[1::2] == list(BY_COMMAND)
    for command, text in zip(groups[1::2], groups[2::2], strict=True):
        for name, path in presets_of(command).items():
            assert re.search(rf"^  {name} +{re.escape(headline(path))}$", text, flags=re.M)
    assert str(ROOT / "configs") in told
    assert cli.main(["presets", "atari"]) == 2
    assert cli.main(["presets", "--help"]) == 0


def test_the_help_of_a_command_names_its_presets(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "classifier", "--help"])
    assert "spl presets): cifar10, cifar100, cifar100-csm, folder" in capsys.readouterr().out
