"""Bundles: one folder that loads, acts, is evaluated and exported as its run, and imports nothing unasked."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from safetensors.torch import load_file, save_file

import spl
from spl.agents.bundle import read_bundle
from spl.agents.load import load_agent
from spl.agents.sharing.export import export_agent
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.envs import registry
from spl.envs.space_json import space_as_json, space_from_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tiny_run, tmp_path_factory) -> tuple[Path, Path]:
    """Return a tiny run on Beacon, and its bundle."""
    run = tiny_run(6, ["/somewhere/private/spl", "train", "agent", "--env", "spl/Beacon-v0"])
    return run, export_agent(run, to="bundle", out=str(tmp_path_factory.mktemp("bundles") / "beacon"))


def test_a_bundle_acts_as_its_run_without_the_environment(bundle, monkeypatch):
    run, folder = bundle
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "agent.json",
        "agent.safetensors",
        "config.json",
    }
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # who may read one file, may read all
    here = spl.load(run, device="cpu")
    env = gymnasium.make("spl/Beacon-v0", num_rounds=6)
    monkeypatch.setattr(registry, "make_raw", None)  # no environment is made
    there = spl.load(folder, device="cpu")
    assert (there.step, there.action_space) == (here.step, here.action_space)
    assert there.observation_space == here.observation_space
    observation, _ = env.reset(seed=4)
    for _ in range(6):
        action = there.act(observation)
        assert action == here.act(observation)
        np.testing.assert_array_equal(there.q_values, here.q_values)
        observation, *_ = env.step(action)
    card = (folder / "README.md").read_text()
    assert "spl train agent --env spl/Beacon-v0" in card
    assert "private" not in card
    assert "Not evaluated" in card


def test_a_bundle_is_evaluated_and_exported_as_a_run(bundle, capsys, tmp_path):
    run, folder = bundle
    options = ["--num_episodes", "1", "--num_seeds", "1", "--device", "cpu"]
    assert cli.main(["evaluate", "agent", str(folder), *options]) == 0
    assert cli.main(["evaluate", "agent", str(run), *options]) == 0
    told = [json.loads((place / "evaluation.json").read_text())["conditions"] for place in (run, folder)]
    assert told[0] == told[1]
    assert cli.main(["export", "agent", str(folder), "--to", "bundle", "--out", str(tmp_path / "again")]) == 0
    assert "take it as a run" in capsys.readouterr().out
    for name in ("agent.safetensors", "config.json", "agent.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    card = (tmp_path / "again" / "README.md").read_text()
    assert "| all modalities | " in card
    assert (tmp_path / "again" / "evaluation.json").exists()


def test_a_bundle_takes_along_what_is_of_its_own_agent(bundle, tmp_path):
    run, folder = shutil.copytree(bundle[0], tmp_path / "run", symlinks=True), tmp_path / "out"
    told = {"step": 43, "episodes": 1, "seeds": [0], "epsilon": 0.0, "conditions": {}}
    (run / "evaluation.json").write_text(json.dumps(told))  # of an earlier step
    (run / "robustness.png").write_bytes(b"earlier")
    (run / "evaluation-best.json").write_text(json.dumps({**told, "step": 44}))
    (run / "robustness-best.png").write_bytes(b"now")
    export_agent(run, to="bundle", out=str(folder))
    assert json.loads((folder / "evaluation.json").read_text())["step"] == 44
    assert (folder / "robustness.png").read_bytes() == b"now"
    (folder / "agent.mp4").write_bytes(b"of another agent")
    (run / "evaluation-best.json").unlink()
    export_agent(run, to="bundle", out=str(folder))
    for name in ("evaluation.json", "robustness.png", "agent.mp4", "monitor"):
        assert not (folder / name).exists(), name
    assert "robustness.png" not in (folder / "README.md").read_text()


def test_the_card_tells_the_first_command_whatever_its_words_hold(bundle, tmp_path):
    run = shutil.copytree(bundle[0], tmp_path / "run", symlinks=True)
    first = ["spl", "train", "agent", "--runs", "two\nlines"]
    for text, told in ((shlex.join(first) + "\nspl train agent --resume x\n", first), ("'cut", None)):
        (run / "command.txt").write_text(text)
        card = (export_agent(run, to="bundle", out=str(tmp_path / "told")) / "README.md").read_text()
        assert "--resume" not in card
        assert (f"    {shlex.join(told)}\n" in card) if told else ("spl train agent" not in card)


def edited(bundle: Path, place: Path, **parts: dict[str, Any]) -> Path:
    """Return a copy of a bundle whose configuration names something else."""
    export_agent(bundle, to="bundle", out=str(place))
    chosen = json.loads((place / "config.json").read_text())
    chosen = chosen | {part: chosen[part] | options for part, options in parts.items()}
    (place / "config.json").write_text(json.dumps(chosen) + "\n")
    return place


@pytest.fixture
def wicked(tmp_path, monkeypatch) -> None:
    """Have modules that end the test when they are imported."""
    for name in ("wicked", "böse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["wicked:1", "wicked:Näme", "böse:World", "wicked:", "wicked:a b"])
def test_no_name_that_python_would_import_is_overlooked_in_a_bundle(bundle, tmp_path, wicked, name):
    place = edited(bundle[1], tmp_path / "named", env={"id": name})
    with pytest.raises(UsageError, match=f"names {name}, which would be imported and run"):
        spl.evaluate(place)
    place = edited(bundle[1], tmp_path / "wrapped", env={"wrappers": [{name: {"a": 1}}]})
    with pytest.raises(UsageError, match=f"{name}"):
        spl.evaluate(place)
    for part, option in (("agent", "head"), ("encoder", "custom")):
        place = edited(bundle[1], tmp_path / option, **{part: {option: name}})
        with pytest.raises(UsageError, match=f"{name}|module:Class"):
            spl.load(place)


def test_spoilt_weights_are_noticed(bundle, tmp_path):
    place = Path(export_agent(bundle[1], to="bundle", out=str(tmp_path / "spoilt")))
    weights = load_file(place / "agent.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] * 1.01}, place / "agent.safetensors")
    with pytest.raises(UsageError, match=r"agent.safetensors is not the file that was exported"):
        spl.load(place)
    told = json.loads((place / "agent.json").read_text())
    del told["weights_crc32"]  # as in bundles made before
    (place / "agent.json").write_text(json.dumps(told))
    spl.load(place)
    save_file(weights | {name: weights[name] * np.nan}, place / "agent.safetensors")
    with pytest.raises(UsageError, match=f"{name} in agent.safetensors must be finite"):
        spl.load(place)


def test_nothing_that_a_bundle_names_is_imported_unasked(bundle, tmp_path, wicked):
    place = edited(bundle[1], tmp_path / "named", env={"id": "wicked:World"})
    assert spl.load(place, device="cpu").step == 44
    with pytest.raises(
        UsageError, match=r"names wicked:World, which would be imported and run.*--trust true"
    ):
        spl.evaluate(place)
    with pytest.raises(UsageError, match="wicked:World"):
        spl.film(place)
    with pytest.raises(SystemExit, match="it was imported"):
        load_agent(place, "cpu", trusts=True)[1]()


def test_a_bundle_that_does_not_serve_is_refused_in_a_sentence(bundle, tmp_path):
    _, folder = bundle
    with pytest.raises(UsageError, match="is a bundle, which has one agent: leave --checkpoint best out"):
        spl.evaluate(folder, checkpoint="best")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("all of it")
    with pytest.raises(UsageError, match="holds something else than a bundle: give another --out"):
        export_agent(folder, to="bundle", out=str(tmp_path / "full"))
    place = export_agent(folder, to="bundle", out=str(tmp_path / "cut"))
    (place / "agent.safetensors").write_bytes((place / "agent.safetensors").read_bytes()[:-7])
    with pytest.raises(UsageError, match=r"the bundle .* cannot be used"):
        spl.load(place)
    told = json.loads((place / "agent.json").read_text())
    for declared in ([1], {"step": 5}, {"observation_space": 3}, {"sample_rate_hz": "16000"}, {"buttons": 5}):
        (place / "agent.json").write_text(json.dumps({**told, "declared": declared}))
        with pytest.raises(UsageError, match=r"cannot be used: .*declared"):
            spl.load(place)
    (place / "agent.json").write_text(json.dumps({**told, "version": 2}))
    with pytest.raises(UsageError, match=r"must be a bundle of version 1, got 'spl-bundle' 2: update spl"):
        read_bundle(place, None)
    (place / "agent.json").write_text(json.dumps(told))
    (place / "config.json").unlink()
    with pytest.raises(
        UsageError, match=r"^the bundle .* lacks config\.json: fetch or export the bundle again$"
    ):
        spl.load(place)


def test_spaces_come_back_as_they_were():
    space = spaces.Dict(
        image=spaces.Box(0, 255, (8, 9, 3), np.uint8),
        joints=spaces.Box(np.array([-1, -np.inf], np.float32), np.array([2, np.inf], np.float32)),
        rest=spaces.Tuple([spaces.Discrete(3, start=2), spaces.MultiBinary(4), spaces.MultiDiscrete([2, 5])]),
        frames=spaces.Sequence(spaces.Box(0, 1, (8, 8))),
    )
    assert space_from_json(json.loads(json.dumps(space_as_json(space)))) == space
    assert space_from_json(space_as_json(spaces.Text(5))) == spaces.Text(1)
    for wrong in ({}, {"Box": {}}, {"Sphere": 1}, {"Discrete": {"n": "x", "start": 0}}):
        with pytest.raises(ValueError, match="a space"):
            space_from_json(wrong)
