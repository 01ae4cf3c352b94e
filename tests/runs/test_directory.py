"""What every run has: a folder of its own, a device, generators with owners."""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from spl.agents.config import TrainAgentConfig
from spl.config.errors import UsageError
from spl.config.parse import dump
from spl.pretrain.config import RUNS, PretrainConfig
from spl.runs import directory
from spl.runs.directory import (
    describe_run,
    described_run,
    generator_of,
    held_run,
    kept_run,
    new_run,
    pick_device,
    read_run,
)


@dataclass(frozen=True)
class Owner:
    """What describes a run."""

    width: int = 1  # of something


def test_each_purpose_has_a_generator_of_its_own():
    draws = {purpose: generator_of(3, purpose).random() for purpose in ("replay", "exploration", "dropout")}
    assert len(set(draws.values())) == 3
    assert generator_of(3, "replay").random() == draws["replay"]
    assert generator_of(4, "replay").random() != draws["replay"]


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(UsageError, match="device must be cpu, cuda, cuda:N, mps or auto"):
            pick_device(name)


def test_a_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = (new_run(tmp_path / "runs", "a/b c") for _ in range(2))
    assert first != second
    assert first.is_dir()
    assert second.is_dir()
    assert first.name.startswith("a-b-c-")


def fail_in(resume: Path | None, parent: Path, error: Exception, *written: str) -> None:
    """Begin or go on with a run that writes files and fails."""
    with held_run(resume, parent, "new", ["spl"]) as context:
        folder = context.folder
        assert context.command_to_resume("spl train") == f"spl train --resume {folder}"
        assert context._replace(resume_with="spl x").command_to_resume("spl train") == "spl x"
        assert (context.command, context.console.stderr) == (["spl"], True)
        assert (folder / ".lock").read_text() == f"{os.getpid()}\n"
        for name in written:
            (folder / name).touch()
        raise error


@pytest.mark.parametrize("error", [UsageError("no"), RuntimeError("no")])
def test_a_new_run_that_fails_before_it_learned_anything_leaves_no_folder(tmp_path: Path, error: Exception):
    with pytest.raises(type(error), match="no"):
        fail_in(None, tmp_path, error, "config.yaml", "metrics.jsonl")
    assert not list(tmp_path.iterdir())
    with pytest.raises(type(error), match="no"):
        fail_in(None, tmp_path, error, "tensors.safetensors")
    (learned,) = tmp_path.iterdir()
    (learned / "tensors.safetensors").unlink()
    with pytest.raises(type(error), match="no"):
        fail_in(learned, tmp_path, error)
    assert learned.exists(), "what is resumed stays, whatever is in it"


def test_a_run_whose_list_of_restarts_is_cut_is_one_sentence(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(dump(PretrainConfig(restarts=2)))
    (tmp_path / "restarts.json").write_text('{"kept": "resta')
    with pytest.raises(UsageError, match=r"restarts\.json is missing, empty or cut: .*; copy it again"):
        kept_run(PretrainConfig, tmp_path, RUNS, "restarts.json")


def test_a_run_that_goes_on_by_the_same_command_gets_no_second_line(tmp_path: Path) -> None:
    describe_run(tmp_path, Owner(), ["spl", "train"])
    describe_run(tmp_path, Owner(width=2), [], {"env": {"id": "x"}})
    assert (tmp_path / "command.txt").read_text() == "spl train\n"
    assert (tmp_path / "config.yaml").read_text() == "width: 2\n"
    assert (tmp_path / "env.json").is_file()
    assert len((tmp_path / "system.jsonl").read_text().splitlines()) == 1


def test_a_run_says_what_it_ran_on(tmp_path: Path) -> None:
    for _ in range(2):
        describe_run(tmp_path, Owner(), ["spl", "train"])
    first, second = map(json.loads, (tmp_path / "system.jsonl").read_text().splitlines())
    assert first["packages"]["torch"] == second["packages"]["torch"] == str(torch.__version__).split("+")[0]
    assert first["python"] == platform.python_version()
    assert first["cores"] == os.cpu_count()
    assert time.strptime(first["time"], "%Y-%m-%dT%H:%M:%S%z")


def test_a_run_that_cannot_be_described_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory, "replace_text", full)
    with pytest.raises(UsageError, match=r"cannot be written: No space left on device"):
        described_run(tmp_path / "runs", "cart", Owner(), [])
    assert not list((tmp_path / "runs").iterdir())


def test_a_run_of_another_kind_is_told_in_one_sentence(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(dump(TrainAgentConfig()))
    expected = (
        "is a run of another kind than those in runs/autoencoder: it has the options env, agent, pretrained;"
    )
    with pytest.raises(UsageError, match=expected) as caught:
        read_run(PretrainConfig, tmp_path, RUNS)
    assert "\n" not in str(caught.value)
