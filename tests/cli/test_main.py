"""The command line as a user meets it: exit codes, sentences, interrupts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import spl
from spl.cli import main as cli

ROOT = Path(__file__).parents[2]
SMOKE = ["--config", str(ROOT / "configs/smoke/agent.yaml"), "--num_threads", "1", "--device", "cpu"]

MISTAKES = {
    "no such command": (
        ["trane", "agent"],
        "there is no command 'spl trane agent'; did you mean 'spl train agent'?",
    ),
    "unknown environment": (["train", "agent", "--env", "spl/Becon-v0"], "did you mean spl/Beacon-v0?"),
    "no streams": (
        ["train", "agent", "--env", "FrozenLake-v1"],
        "no picture, sound or vector in the observation",
    ),
    "bins without a Box": (
        ["train", "agent", "--bins", "5"],
        "env.bins 5 needs a Box, and the actions are Discrete(4)",
    ),
    "no module": (["train", "agent", "--env", "nowhere_to_be:Found"], "there is no module 'nowhere_to_be'"),
    "no yaml": (["train", "agent", "--config", "missing.yaml"], "missing.yaml: expected a YAML file"),
    "not a run": (["evaluate", "agent", "."], "is not a run directory: it has no config.yaml"),
    "no run given": (["evaluate", "agent"], "give the run directory"),
    "resume nothing": (["train", "agent", "--resume", "nowhere"], "nowhere is not a run directory"),
    "resume without value": (["train", "agent", "--resume"], "--resume needs a value"),
    "unwritable": (
        ["train", "agent", "--runs", "/proc/runs"],
        "the run folder /proc/runs/agent cannot be written",
    ),
    "memory beyond RAM": (
        ["train", "agent", "--memory.capacity", "10_000_000_000"],
        "needs 84,032,000,000,000 bytes (78260.9 GiB), and this machine has",
    ),
    "no such device": (
        ["train", "agent", "--device", "cuda:99"],
        "device must be cpu, cuda, cuda:N, mps or auto",
    ),
    "out of range": (["train", "agent", "--agent.gamma", "2"], "gamma must be in [0, 1], got 2.0"),
    "impossible together": (["train", "agent", "--agent.fusion", "mdqn"], "set --agent.dueling false"),
    "too small a picture": (["train", "agent", "--env.video_size", "10,10"], "give a larger env.video_size"),
    "option for envs": (["envs", "--all"], "spl envs takes names of environments, and --check"),
    "record over something": (["record", "--out", "."], "is not empty: choose another with --out"),
}


@pytest.mark.parametrize(("argv", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_code_2(argv, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    assert cli.main(argv) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.startswith("spl: ")
    assert "Traceback" not in told.err
    assert not list(tmp_path.glob("runs/agent/*")), "a refused run leaves no folder behind"


def test_all_unknown_keys_are_told_together(capsys):
    assert cli.main(["train", "agent", "--agent.epsiln_end", "0", "--memory.capacty", "9"]) == 2
    told = capsys.readouterr().err
    assert "--agent.epsilon_end" in told
    assert "--memory.capacity" in told


def test_debug_shows_the_traceback_of_a_mistake(capsys):
    assert cli.main(["train", "agent", "--env", "spl/Becon-v0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_memory_that_does_not_suffice_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, ("envs",), cli.Command(lambda _: torch.empty(2**60), "", ""))
    assert cli.main(["envs"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("spl: the memory does not suffice: can't allocate memory: you tried to allocate")
    assert told.count("\n") == 1


def test_a_failure_is_code_1_and_shows_its_traceback(capsys, monkeypatch):
    def fail(argv):
        raise RuntimeError("the roof fell in")

    monkeypatch.setitem(cli.COMMANDS, ("envs",), cli.Command(fail, "", ""))
    assert cli.main(["envs"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "spl: failed with RuntimeError: the roof fell in" in told


def test_a_full_disk_is_code_1_and_one_sentence(capsys, monkeypatch):
    def fail(argv):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(cli.COMMANDS, ("envs",), cli.Command(fail, "", ""))
    assert cli.main(["envs"]) == 1
    assert capsys.readouterr().err == "spl: [Errno 28] No space left on device\n"


def test_help_and_version(capsys):
    assert cli.main([]) == 0
    assert "spl train agent" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert re.match(
        rf"{re.escape(spl.__version__)}( \([0-9a-f]{{7}}( \+ changes)?\))?\n$", capsys.readouterr().out
    )
    for words in (
        ["train", "agent"],
        ["evaluate", "agent"],
        ["pretrain", "autoencoder"],
        ["evaluate", "autoencoder"],
        ["record"],
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, "--help"])
        assert stopped.value.code == 0
        assert "--" in capsys.readouterr().out


def test_envs_lists_our_worlds(capsys):
    assert cli.main(["envs", "spl/Beacon-v0"]) == 0
    told = capsys.readouterr().out
    assert "64 x 64 uint8" in told
    assert "16,000 Hz" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["record", "FrozenLake-v1"], "no picture, sound or vector in the observation"),
        (["check", "env", "Nowhere-v0"], "there is no environment Nowhere-v0"),
        (["check", "env", "--env", "Nowhere-v0"], "there is no environment Nowhere-v0"),
        (["check", "env"], "say which environment is meant"),
        (["train", "agent", "Nowhere-v0", "--num_steps", "9"], "there is no environment Nowhere-v0"),
        (["train", "agent", "a", "b"], "unexpected argument 'b'; write options as --name value"),
        (["train", "agent", "a", "--env", "b"], "'a' comes first and --env is given too: leave one out"),
        (["train", "agent", "a", "--env.id=b"], "'a' comes first and --env.id is given too: leave one out"),
        (["pretrain", "autoencoder", "nowhere", "there"], "nowhere"),
        (["models", "resnet21", "csm"], "there is no network 'resnet21'"),
        (["models", "resnet20", "--model", "resnet32"], "'resnet20' comes first and --model is given too"),
    ],
)
def test_what_a_command_needs_stands_first_without_a_name(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    assert sentence in capsys.readouterr().err


def test_train_evaluate_and_record_end_to_end(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "agent", *SMOKE]) == 0
    told = capsys.readouterr().err
    (run,) = (tmp_path / "runs" / "agent").iterdir()
    assert f"spl evaluate agent runs/agent/{run.name}" in told
    assert {"config.yaml", "command.txt", "env.json", "metrics.jsonl", "checkpoints"} <= {
        path.name for path in run.iterdir()
    }
    assert cli.main(["evaluate", "agent", str(run), "--num_episodes", "2", "--num_seeds", "2"]) == 0
    table = capsys.readouterr().out
    assert "all modalities" in table
    assert "retained" in table
    assert json.loads((run / "evaluation.json").read_text())["conditions"]["oracle"]["mean"] == 32.0
    out = str(tmp_path / "rec")
    assert cli.main(["record", "spl/Greeting-v0", "--num_steps", "3", "--out", "a"]) == 0
    assert "a: 3 steps" in capsys.readouterr().out
    assert cli.main(["record", "--agent", str(run), "--num_steps", "70", "--out", out]) == 0
    assert "70 steps, 2 whole episodes" in capsys.readouterr().out


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_goes_on_to_its_end(number, tmp_path, monkeypatch, capsys):
    command = [sys.executable, "-m", "spl", "train", "agent", *SMOKE, "--num_steps", "100000"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        rows = list(tmp_path.glob("runs/agent/*/metrics.jsonl"))
        if rows and rows[0].read_text().count("\n") >= 2:
            break
        time.sleep(0.05)
    running.send_signal(number)
    told = running.communicate(timeout=60)[1]
    assert running.returncode == 130, told
    assert "stopped and saved at step" in told
    assert "Traceback" not in told
    (run,) = (tmp_path / "runs" / "agent").iterdir()
    step = json.loads((run / "checkpoints/last/state.json").read_text())["step"]
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "agent", "--resume", str(run), "--num_steps", str(step + 20)]) == 0
    assert "finished" in capsys.readouterr().err
    assert json.loads((run / "checkpoints/last/state.json").read_text())["step"] == step + 20


def variables_after(tmp_path: Path, **given: str) -> dict[str, str]:
    """Return what of the thread variables a command finds in a fresh process, told by an environment."""
    (tmp_path / "told.py").write_text(
        "import json, os\n"
        "names = ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY', 'OPENBLAS_NUM_THREADS')\n"
        "print(json.dumps({name: os.environ[name] for name in names if name in os.environ}))\n"
    )
    code = (
        "import sys; from spl.cli import main as cli; assert 'torch' not in sys.modules\n"
        "cli.COMMANDS['train', 'agent'] = cli.Command(lambda argv: __import__('told') and 0, '', '')\n"
        "sys.exit(cli.main(['train', 'agent']))"
    )
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env | given,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_waiting_threads_are_calmed_where_the_user_says_nothing(tmp_path):
    assert variables_after(tmp_path) == cli.CALM
    own = {"GOMP_SPINCOUNT": "7", "OPENBLAS_NUM_THREADS": "2"}
    assert variables_after(tmp_path, **own) == own
    patient = variables_after(tmp_path, OMP_WAIT_POLICY="active")
    assert patient == {"OMP_WAIT_POLICY": "active", "OPENBLAS_NUM_THREADS": "1"}


def test_nothing_is_imported_from_the_current_folder_unless_it_is_named(tmp_path):
    """A folder of a stranger's may hold files named as what spl imports, and what torch seeks and has not."""
    for name in ("torch", "numpy", "rich", "av", "queue", "triton", "onnxruntime", "tabulate"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the folder was run')\n")
    (tmp_path / "mine.py").touch()
    command = [str(Path(sys.executable).with_name("spl")), "check", "env", "mine:Env"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "mine neither registers the id Env nor has a class of that name" in done.stderr


def test_importing_the_command_line_sets_no_variable():
    code = "import os; before = dict(os.environ); import spl.cli.main; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
