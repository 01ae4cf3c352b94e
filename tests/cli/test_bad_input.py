"""Damaged, foreign and malicious files, odd places and clocks, at the user's command: one sentence each."""

import ast
import io
import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spl.cli import main as cli
from spl.runs.checksums import seal

ROOT = Path(__file__).parents[2]
SMOKE = ["--config", str(ROOT / "configs/smoke/agent.yaml"), "--num_threads", "1", "--device", "cpu"]
SHORT = [*SMOKE, "--num_steps", "60", "--checkpoint_every_steps", "30"]
LONGER, BRIEF = ["--num_steps", "64"], ["--num_episodes", "1", "--num_seeds", "1"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run with checkpoints of steps 30 and 60."""
    folder = tmp_path_factory.mktemp("whole")
    assert cli.main(["train", "agent", *SHORT, "--runs", str(folder)]) == 0
    (run,) = (folder / "agent").iterdir()
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to damage, with its last checkpoint alone."""
    copied = Path(shutil.copytree(whole, tmp_path / "run", symlinks=True))
    shutil.rmtree(copied / "checkpoints" / "step-000000030")
    return copied


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def torch_file() -> bytes:
    file = io.BytesIO()
    torch.save({"x": Evil()}, file)
    return file.getvalue()


def object_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    return file.getvalue()


TENSORS, STATE = (f"checkpoints/step-000000060/{name}" for name in ("tensors.safetensors", "state.json"))
OLDER = "is missing, cut or corrupt"
Change = Callable[[bytes], bytes]


def edit(change: Callable[[dict[str, Any]], Any]) -> Change:
    """A change of what a JSON file holds."""

    def changed(content: bytes) -> bytes:
        document = json.loads(content)
        is_sealed = document.pop("crc32", None) is not None
        change(document)
        return (seal(document) if is_sealed else json.dumps(document) + "\n").encode()

    return changed


def add_tensor(document: dict[str, Any]) -> None:
    network = document["state"]["agent"]["network"]
    network["heads.0.new.weight"] = network["heads.0.value.weight"]


# name -> file, its change (None removes it), what is reported; the first group is told by both commands
BOTH: dict[str, tuple[str, Change | None, str]] = {
    "cut": (TENSORS, lambda content: content[:-9], OLDER),
    "corrupt": (TENSORS, lambda content: b"\xff" * 99, "tensors.safetensors is missing, cut or corrupt"),
    "empty": (STATE, lambda content: b"", OLDER),
    "pickle for tensors": (TENSORS, lambda content: pickle.dumps(Evil()), OLDER),
    "pickle for state": (STATE, lambda content: pickle.dumps(Evil()), OLDER),
    "file of torch.save": (TENSORS, lambda content: torch_file(), OLDER),
    "later version": (
        STATE,
        edit(lambda d: d.update(version=9)),
        "must have version 1 or 2, got 9; update spl",
    ),
    "other format": (STATE, edit(lambda d: d.update(format="zip")), "it is not a checkpoint of spl"),
    "no agent": (STATE, edit(lambda d: d["state"].pop("agent")), "checkpoint/agent is missing"),
    "word for count": (
        STATE,
        edit(lambda d: d["state"]["agent"].update(num_updates="x")),
        "checkpoint/agent/num_updates must be of type int, got str",
    ),
    "unknown tensor": (STATE, edit(add_tensor), "network/heads.0.new.weight is not expected"),
    "other network": (
        "config.yaml",
        lambda content: content.replace(b" video_features: 16", b" video_features: 8"),
        "checkpoint/agent/network/encoder.video.project.weight must have shape (8, 32), got (16, 32)",
    ),
    "other environment": (
        "env.json",
        edit(lambda d: d.update(actions=5, audio={"to": [1, 64, 9]})),
        "actions is 4 (it was 5), audio.to is [1, 64, 8] (it was [1, 64, 9]); use that one again, or start",
    ),
    "lost stream": ("env.json", edit(lambda d: d.pop("video")), "video.to is [1, 36, 36] (it was None)"),
    "cut description": ("env.json", lambda content: content[:40], "env.json is empty, cut or corrupt"),
    "empty configuration": ("config.yaml", lambda content: b"", "config.yaml is empty or cut"),
    "cut configuration": ("config.yaml", lambda content: content[:300], "config.yaml is empty or cut"),
    "no configuration": ("config.yaml", None, "is not a run directory: it has no config.yaml"),
}
AWAY = "memory away and resume without it"
RESUME: dict[str, tuple[str, Change | None, str]] = {
    "no progress": (STATE, edit(lambda d: d["state"].pop("progress")), "checkpoint/progress is missing"),
    "missing array": ("memory/age.npy", None, AWAY),
    "cut array": ("memory/video.npy", lambda content: content[:-9], AWAY),
    "longer array": ("memory/video.npy", lambda content: content + b"9", AWAY),
    "array of objects": ("memory/action.npy", lambda content: object_array(), AWAY),
    "pickle for array": ("memory/action.npy", lambda content: pickle.dumps(Evil()), AWAY),
    "no header": ("memory/recording.json", None, AWAY),
    "later memory": ("memory/recording.json", edit(lambda d: d.update(version=9)), AWAY),
    "memory of another environment": (
        "memory/recording.json",
        edit(lambda d: d["meta"].update(id="spl/Greeting-v0")),
        "run/memory was made with: id is spl/Beacon-v0 (it was spl/Greeting-v0)",
    ),
    "memory of another run": (
        "memory/recording.json",
        edit(lambda d: d.update(written=[20])),
        "these are not the observations that were saved; move the memory away to collect again",
    ),
}
CASES = {
    f"{command}: {name}": (command, case) for name, case in BOTH.items() for command in ("resume", "evaluate")
}
CASES |= {f"resume: {name}": ("resume", case) for name, case in RESUME.items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "case"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_one_sentence_and_changes_nothing(command, case, run, capsys, monkeypatch):
    file, change, sentence = case
    monkeypatch.chdir(run.parent)
    if change is None:
        (run / file).unlink()
    else:
        before = (run / file).read_bytes()
        (run / file).write_bytes(change(before))
        assert (run / file).read_bytes() != before
    found = contents(run)
    words = {
        "resume": ["train", "agent", "--resume", "run", *LONGER],
        "evaluate": ["evaluate", "agent", "run"],
    }
    assert cli.main(words[command]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.startswith("spl: ")
    assert told.count("\n") == 1
    assert len(told) < 400
    assert contents(run) == found
    assert not Path("owned").exists(), "the file ran code of its own"


def test_a_damaged_last_save_is_passed_over_by_every_command(whole, tmp_path, capsys):
    run = Path(shutil.copytree(whole, tmp_path / "run", symlinks=True))
    (run / TENSORS).unlink()
    for words in (["evaluate", "agent", str(run), *BRIEF], ["train", "agent", "--resume", str(run), *LONGER]):
        assert cli.main(words) == 0
        told = capsys.readouterr().err
        assert "step-000000060/tensors.safetensors is missing, cut or corrupt" in told
        assert "step-000000030 is used instead" in told
    assert (run / "checkpoints" / "last").resolve().name == "step-000000064"
    assert sorted(path.name for path in (run / "checkpoints").glob("step-*")) == [
        "step-000000060",
        "step-000000064",
    ]
    assert cli.main(["evaluate", "agent", str(run), *BRIEF]) == 0
    assert "used instead" not in capsys.readouterr().err


def test_the_advice_to_move_a_damaged_memory_away_is_good(run, capsys):
    shutil.rmtree(run / "memory")
    assert cli.main(["train", "agent", "--resume", str(run), *LONGER]) == 0
    assert "memory     was not saved" in capsys.readouterr().err
    assert (run / "memory" / "recording.json").exists()


def test_a_cut_last_row_of_the_metrics_is_dropped(run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\x00{"step": 4')
    assert cli.main(["train", "agent", "--resume", str(run), *LONGER]) == 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] <= 64


def test_an_environment_with_other_actions_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "changing_world.py").write_text(
        "import gymnasium, numpy as np, pathlib\n"
        "class World(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (36, 36, 3), np.uint8)\n"
        "    def __init__(self):\n"
        "        self.action_space = gymnasium.spaces.Discrete(int(pathlib.Path('actions').read_text()))\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        return self.observation_space.low, 1.0, False, False, {}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "actions").write_text("3")
    world = ["--env", "changing_world:World", "--num_steps", "20"]
    assert cli.main(["train", "agent", *SMOKE, *world]) == 0
    (run,) = tmp_path.glob("runs/agent/*")
    (tmp_path / "actions").write_text("4")
    for words in (["train", "agent", "--resume", str(run), *LONGER], ["evaluate", "agent", str(run)]):
        capsys.readouterr()
        assert cli.main(words) == 2
        assert "actions is 4 (it was 3); use that one again" in capsys.readouterr().err


def test_a_changed_configuration_is_refused_at_the_command(run, capsys):
    assert cli.main(["train", "agent", "--resume", str(run), "--encoder.features", "8"]) == 2
    assert "--encoder.features 8 (the run has 16); start a new run" in capsys.readouterr().err


def test_a_path_with_spaces_and_umlauts_serves_every_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = "Läufe mit Ü"
    assert cli.main(["train", "agent", *SMOKE, "--num_steps", "44", "--runs", runs]) == 0
    (run,) = Path(runs, "agent").iterdir()
    told = capsys.readouterr().err
    assert f"spl evaluate agent '{run}'" in told, "the command can be copied as it stands"
    assert cli.main(["train", "agent", "--resume", str(run), "--num_steps", "48"]) == 0
    assert cli.main(["evaluate", "agent", str(run), *BRIEF]) == 0
    assert json.loads((run / "evaluation.json").read_text())["run"] == str(run)
    assert cli.main(["record", "--agent", str(run), "--num_steps", "20", "--out", f"{runs}/Aufnahme ß"]) == 0
    header = json.loads(Path(runs, "Aufnahme ß", "recording.json").read_text())
    assert header["meta"]["actor"] == str(run)


def test_a_clock_that_jumps_does_not_matter(tmp_path, monkeypatch, capsys):
    true_time, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: true_time() + (-1) ** next(jumps) * 1e6)
    monkeypatch.setattr(time, "strftime", lambda *args: "20200101-000000")
    for _ in range(2):
        assert cli.main(["train", "agent", *SMOKE, "--num_steps", "50", "--runs", str(tmp_path)]) == 0
    names = sorted(path.name for path in (tmp_path / "agent").iterdir())
    assert names == ["Beacon-v0-s0-20200101-000000", "Beacon-v0-s0-20200101-000000-1"]
    for name in names:
        rows = [
            json.loads(line)
            for line in (tmp_path / "agent" / name / "metrics.jsonl").read_text().splitlines()
        ]
        assert all(0 <= row["seconds"] < 600 for row in rows)
        assert 0 < rows[-1]["time/fps"] < 1e5


def test_nothing_of_ours_unpickles():
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in [*ROOT.glob("spl/**/*.py"), *ROOT.glob("agents/*.py"), *ROOT.glob("envs/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names}
                names |= {(getattr(node, "module", None) or "").split(".")[0]}
                assert not names & unsafe, f"{path} imports {names & unsafe}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in {"torch.load", "np.load", "numpy.load", "yaml.unsafe_load"}, path
            if isinstance(node, ast.keyword):
                assert node.arg not in {"allow_pickle", "weights_only"}, path
