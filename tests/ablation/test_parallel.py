"""Runs of a grid several at a time: the same numbers as in turns, whatever happens to one of them."""

import io
import json
import os
import signal
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from spl.ablation import parallel
from spl.ablation.parallel import Board, with_threads
from spl.agents.config import ALIASES
from spl.agents.studies import seeds
from spl.agents.studies.seeds import Seeds, TrainAgentsConfig
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.processes import cluster
from tests.stub_ray import RayError, instead_of_ray

TINY = (
    "--config smoke/agent --env.kwargs.num_rounds 2 --num_steps 44 --num_threads 1 --device cpu --seeds 0-1"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Odd(Seeds):
    """The seeds of a run, one of which does not train; another process finds each such class by its name."""

    seed = 1

    def train(self, context, config, number):
        return self.do() if number == self.seed else super().train(context, config, number)


class Killed(Odd):
    def do(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Refused(Odd):
    seed = 0

    def do(self):
        raise UsageError("the sound is not to my taste")


class Hung(Odd):
    def do(self):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not that of the process above
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)


class Broken(Odd):
    def do(self):
        return 1 // 0


class Blocked(Odd):
    seed = 0

    def do(self):
        raise UsageError(f"it blocks {signal.pthread_sigmask(signal.SIG_BLOCK, ())}")


def weights_in(folder):
    return [path.read_bytes() for path in sorted(folder.glob("seed-*/checkpoints/last/tensors.safetensors"))]


def test_a_killed_run_is_named_and_trained_again_and_all_is_as_in_turns(tmp_path, monkeypatch, capsys):
    assert cli.main(["train", "agent", *TINY.split(), "--runs", "turns"]) == 0
    (turns,) = (tmp_path / "turns" / "agent").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(seeds, "Seeds", Killed)
        assert cli.main(["train", "agent", *TINY.split(), "--parallel", "2"]) == 1
    told = capsys.readouterr()
    assert "2 at a time, --num_threads 1 each" in told.err
    assert "cell       2 of 2" in told.err
    assert "Seed 1 failed: its process was killed by SIGKILL; what was saved before stays" in told.out
    (folder,) = (tmp_path / "runs" / "agent").iterdir()
    assert (folder / "seed-0" / parallel.OUTPUT).read_text().startswith("run        ")
    assert json.loads((folder / "seeds.json").read_text())["failed"].keys() == {"1"}
    assert cli.main(["train", "agent", "--resume", str(folder)]) == 0
    assert "(1 x 2, trainings x seeds), 1 finished" in capsys.readouterr().err
    found = [json.loads((one / "seeds.json").read_text()) for one in (folder, turns)]
    for one in found:
        for run in one["runs"].values():
            del run["seconds"]
    assert found[0] == found[1]
    assert weights_in(folder) == weights_in(turns)
    assert len(weights_in(turns)) == 2


def test_a_mistake_in_a_process_is_a_sentence_and_stops_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seeds, "Seeds", Refused)
    assert cli.main(["train", "agent", *TINY.split(), "--parallel", "2"]) == 2
    assert capsys.readouterr().err.endswith("spl: the sound is not to my taste\n")


def test_ctrl_c_is_the_business_of_the_process_above(monkeypatch, capsys):
    monkeypatch.setattr(seeds, "Seeds", Blocked)  # or one that imports yet would print a traceback
    assert cli.main(["train", "agent", *TINY.split(), "--parallel", "2"]) == 2
    assert "spl: it blocks {<Signals.SIGINT: 2>}" in capsys.readouterr().err


def test_a_signal_stops_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seeds, "Seeds", Hung)
    started = time.monotonic()
    assert cli.main(["train", "agent", *TINY.split(), "--parallel", "2"]) == 130
    assert time.monotonic() - started < 30
    assert "cells finished; resume with: spl train agent --resume runs/agent/" in capsys.readouterr().err


def test_a_process_that_fails_otherwise_names_where_it_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seeds, "Seeds", Broken)
    assert cli.main(["train", "agent", *TINY.split(), "--parallel", "2"]) == 1
    (folder,) = (tmp_path / "runs" / "agent").iterdir()
    assert (
        f"Seed 1 failed: its process broke off with code 1, see {folder}/seed-1/output.txt"
        in capsys.readouterr().out
    )
    assert "ZeroDivisionError" in (folder / "seed-1" / parallel.OUTPUT).read_text()


def test_a_cluster_trains_the_same(tmp_path, monkeypatch, capsys):
    ray = instead_of_ray(monkeypatch)
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 0
    assert ray.joined == ["auto", "left"]
    (folder,) = (tmp_path / "runs" / "agent").iterdir()
    assert cli.main(["train", "agent", *TINY.split(), "--runs", "turns"]) == 0
    (turns,) = (tmp_path / "turns" / "agent").iterdir()
    assert weights_in(folder) == weights_in(turns)


def test_a_lost_task_and_a_cluster_that_is_not_there_are_told(tmp_path, monkeypatch, capsys):
    def lose(job):
        raise RayError("the node died\nin many words")

    ray = instead_of_ray(monkeypatch)
    monkeypatch.setattr(parallel, "train_there", lose)
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 1
    assert "Seed 1 failed: Ray lost it (the node died): resume it." in capsys.readouterr().out

    ray.without_spl = ["worker-7"]
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 2
    assert "spl: --ray auto: spl is missing on worker-7: install it as it is here" in capsys.readouterr().err

    def refuse(address, **_):
        raise ConnectionError("nobody is there")

    ray.init = refuse
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 2
    told = "spl: --ray auto: no Ray answers there (nobody is there); start one with ray start --head"
    assert told in capsys.readouterr().err
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "127.0.0.1:1"]) == 2
    assert "--ray 127.0.0.1:1: no Ray answers there (nothing listens there)" in capsys.readouterr().err

    def differ(address, **_):
        raise RuntimeError(
            "Version mismatch: started with:\n    Ray: 2.1.0\n    Python: 3.9.1\nThis process:"
        )

    ray.init, ray.__version__ = differ, "2.60.0"
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 2
    told = "that cluster has Ray 2.1.0 with Python 3.9.1, and here is Ray 2.60.0: install the same versions"
    assert told in capsys.readouterr().err
    monkeypatch.setattr(cluster, "ANSWER_S", 0.1)
    ray.init = lambda address, **_: time.sleep(0.5)
    assert cli.main(["train", "agent", *TINY.split(), "--ray", "auto"]) == 2
    assert "no Ray answers there within 0.1 s" in capsys.readouterr().err


def test_the_cores_are_divided_and_a_number_of_threads_is_kept(monkeypatch):
    monkeypatch.setattr("spl.processes.threads.allowed_cores", lambda: list(range(7)))
    monkeypatch.setattr("spl.processes.threads.quota_of_cores", lambda: 6)

    def threads(*words):
        config = parse(TrainAgentsConfig, ["--seeds", "0-4", *words], prog="spl", aliases=ALIASES)
        return with_threads(config).num_threads

    assert threads("--parallel", "2") == 3
    assert threads("--parallel", "4") == threads("--parallel", "9") == 1
    assert threads("--parallel", "2", "--num_threads", "5") == 5


def test_a_terminal_shows_all_and_lines_one_after_the_other(tmp_path, monkeypatch):
    class Running(parallel.Cell):
        def __init__(self, name, text, begun=0):
            self.job = SimpleNamespace(label=name)
            self.output, self.begun = tmp_path / name, begun
            self.output.write_text(text)

    cells = [Running("one", "a\nstep 1 of 9\n"), Running("two", "before\n", begun=7)]
    said = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Board(said, lambda: "0 of 2 cells") as board:
        board.show(cells)
    assert all(word in said.file.getvalue() for word in ("0 of 2 cells", "step 1 of 9", "starts"))
    monkeypatch.setattr(parallel, "PLAIN_S", 0.0)
    said = Console(file=io.StringIO())
    with Board(said, lambda: "") as board:
        for _ in range(3):
            board.show(cells)
    assert said.file.getvalue() == "two: starts\none: step 1 of 9\ntwo: starts\n"
