"""Trackers: what reaches them, that a run goes on with the same one, and that none can end a run."""

import io
import json
import re
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import spl
from spl.config.errors import UsageError
from spl.config.options import options_of
from spl.pretrain.config import PretrainConfig
from spl.pretrain.data import PairsConfig
from spl.runs import trackers
from spl.runs.files import read_rows
from spl.runs.logger import Report
from spl.runs.trackers import IDS, TRACKERS, Run, Tracker, check_tracker


class StandIn:
    """A tracker in this process, which fails from a row on if it is told to."""

    def __init__(self, fails_at=None, is_closed=False):
        self.fails_at, self.is_closed = fails_at, is_closed
        self.runs, self.rows, self.ended = [], [], []

    def __call__(self, run):
        if self.is_closed:
            raise ConnectionError("no route to host\nwith details.")
        self.runs.append(run)
        return Tracker(run.id or "an-id", "its place", self.send, self.ended.append)

    def send(self, rows):
        if self.fails_at is not None and len(self.rows) + len(rows) > self.fails_at:
            raise ConnectionError("connection lost")
        self.rows += rows


@pytest.fixture
def stand_in(monkeypatch):
    """Return a maker of stand-ins that take the place of wandb."""
    monkeypatch.setattr(trackers, "require", lambda *_: None)

    def make(**how):
        monkeypatch.setitem(TRACKERS, "wandb", StandIn(**how))
        return TRACKERS["wandb"]

    return make


def describing(tracker):
    """Return what describes a run with that tracker."""
    return PretrainConfig(data=PairsConfig(paths=("x",)), track=tracker)


def tracked(folder, first_step=0):
    """Return a report that is tracked, and where it tells of itself."""
    folder.mkdir(exist_ok=True, parents=True)
    console = Console(file=io.StringIO(), width=1_000)
    config = describing("wandb")
    return Report(folder, "run", 100, first_step=first_step, console=console, config=config), console.file


def test_a_tracker_gets_the_numbers_of_each_row_and_the_options(stand_in, tmp_path):
    tracker = stand_in()
    report, told = tracked(tmp_path / "kind" / "name")
    with report:
        for step in range(1, 40):
            report.row(step, {"train/loss": step / 2, "count": np.float64(3.0), "fault": "a text"})
    (run,) = tracker.runs
    assert tracker.rows == [(step, {"train/loss": step / 2, "count": 3.0}) for step in range(1, 40)]
    assert (run.id, run.first_step, run.name) == (None, 0, "kind/name")
    assert run.options["recipe.learning_rate"] == 1e-3
    assert run.options["track"] == "wandb"
    json.dumps(run.options)
    assert tracker.ended == [False]
    assert told.getvalue() == ""


def test_a_resumed_run_goes_on_with_the_same_one_and_a_broken_run_is_told(stand_in, tmp_path):
    tracker = stand_in()
    with tracked(tmp_path)[0] as report:
        report.row(1, {"a": 1})
    with suppress(KeyError), tracked(tmp_path, first_step=1)[0] as report:
        report.row(2, {"a": 2})
        raise KeyError
    assert [(run.id, run.first_step) for run in tracker.runs] == [(None, 0), ("an-id", 1)]
    assert json.loads((tmp_path / IDS).read_text()) == {"wandb": "an-id"}
    assert [step for step, _ in tracker.rows] == [1, 2]
    assert tracker.ended == [False, True]


def test_one_that_fails_midway_is_told_once_and_the_rows_are_kept(stand_in, tmp_path):
    tracker = stand_in(fails_at=3)
    report, told = tracked(tmp_path)
    with report:
        for step in range(1, 60):
            report.row(step, {"a": step})
            if step == 10:
                report._tracking._thread.join(30.0)
    sentence = "wandb failed: connection lost; the run goes on without it, and metrics.jsonl has all rows"
    assert told.getvalue() == f"tracker    {sentence}\n"
    assert len(read_rows(tmp_path)) == 59
    assert len(tracker.rows) <= 3
    assert tracker.ended == []


def test_one_that_fails_at_the_very_end_is_told_too(stand_in, tmp_path):
    stand_in(fails_at=0)
    report, told = tracked(tmp_path)
    with report:
        report.row(1, {"a": 1})
    assert told.getvalue().count("wandb failed: connection lost") == 1


def test_one_that_hangs_is_not_waited_for(stand_in, tmp_path, monkeypatch):
    tracker = stand_in()
    monkeypatch.setattr(trackers, "PATIENCE_S", 0.05)
    monkeypatch.setattr(tracker, "send", lambda rows: trackers.time.sleep(2.0))
    report, told = tracked(tmp_path)
    with report:
        report.row(1, {"a": 1})
    assert "wandb failed: not all rows arrived within 0 s of the run's end" in told.getvalue()


def test_one_that_cannot_be_opened_ends_a_new_run_and_not_a_resumed_one(stand_in, tmp_path, smoke):
    stand_in(is_closed=True)
    sentence = r"^--track wandb cannot be opened: no route to host; choose another, or leave it out$"
    with pytest.raises(UsageError, match=sentence):
        spl.train_agent(smoke("--track", "wandb", "--num_steps", "20"), console=Console(quiet=True))
    assert not any((tmp_path / "runs/agent").iterdir())
    (tmp_path / IDS).write_text('{"wandb": "an-id"}')
    report, told = tracked(tmp_path)
    with report:
        report.row(1, {"a": 1})
    assert told.getvalue().startswith("tracker    wandb failed: no route to host; the run goes on without it")
    assert report.tracked is None
    assert len(read_rows(tmp_path)) == 1


def test_a_run_of_each_kind_is_tracked(stand_in, smoke, tiny, tmp_path):
    tracker = stand_in()
    shown = Console(file=io.StringIO(), width=1_000)
    words = (
        "--track",
        "wandb",
        "--num_steps",
        "60",
        "--pretrain_steps",
        "24",
        "--pretrain.recipe.epochs",
        "1",
    )
    agent = spl.train_agent(smoke(*words, "--env.kwargs.num_rounds", "4"), console=shown).folder
    classifier = spl.train_classifier(tiny("--track", "wandb", "--recipe.epochs", "1"), console=shown).folder
    folders = [agent / "pretraining", agent, classifier]
    assert [run.folder for run in tracker.runs] == folders
    assert tracker.runs[1].options["env.kwargs"] == {"num_rounds": 4}
    rows = [row for folder in folders for row in read_rows(folder)]
    assert [step for step, _ in tracker.rows] == [row["step"] for row in rows]
    assert all(values.items() <= row.items() for (_, values), row in zip(tracker.rows, rows, strict=True))
    assert tracker.ended == [False] * 3
    assert shown.file.getvalue().count("tracker    its place") == 3
    assert not (agent / "tensorboard").exists()


def test_tensorboard_is_one_of_them(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = describing("tensorboard")
    with Report(tmp_path, "run", 100, console=Console(quiet=True), config=config) as report:
        report.row(10, {"rollout/ep_rew_mean": 2.5, "note": "a text"})
        assert report.tracked == str(tmp_path / "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (scalar,) = events.Scalars("rollout/ep_rew_mean")
    assert (scalar.step, scalar.value) == (10, 2.5)
    assert not (tmp_path / IDS).exists()


def test_tensorboard_hides_what_a_killed_stretch_wrote_beyond_its_save(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed = TRACKERS["tensorboard"](Run(tmp_path, {}, 0, None))
    killed.send([(step, {"train/loss": 1.0}) for step in (10, 20, 30)])
    resumed = TRACKERS["tensorboard"](Run(tmp_path, {}, 20, None))
    resumed.send([(30, {"train/loss": 2.0, "none": float("nan")})])
    resumed.send([(40, {"train/loss": 3.0})])
    resumed.finish(False)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = [(one.step, one.value) for one in events.Scalars("train/loss")]
    assert told == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 3.0)]


def test_tensorboard_that_nobody_asked_for_is_missed_in_a_sentence_only(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").touch()
    told = io.StringIO()
    with Report(tmp_path, "run", 9, console=Console(file=told, width=1_000)) as report:
        report.row(1, {"a": 1})
    assert re.match(r"tracker    tensorboard failed: .*; the run goes on without it", told.getvalue())
    assert len(read_rows(tmp_path)) == 1
    with pytest.raises(UsageError, match=r"^--track tensorboard cannot be opened: .*File exists"):
        Report(tmp_path, "run", 9, config=describing("tensorboard"))


def test_a_file_that_tensorboard_cannot_write_fails_where_it_is_caught(tmp_path):
    pytest.importorskip("tensorboard")
    before = threading.active_count()
    tracker = TRACKERS["tensorboard"](Run(tmp_path, {}, 0, None))
    assert threading.active_count() == before, "a thread of its own would fail where nobody catches it"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            tracker.send([(step, {"train/loss": 1.0}) for step in range(100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.filterwarnings("ignore")  # of the library's own
def test_wandb_offline_keeps_its_files_in_the_run_and_resumes_the_same_one(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = describing("wandb")
    for first_step in (0, 20):
        with Report(
            tmp_path, "run", 9, first_step=first_step, console=Console(quiet=True), config=config
        ) as report:
            report.row(first_step + 20, {"train/loss": 0.25 + first_step})
            assert report.tracked.endswith(", offline")
    key = json.loads((tmp_path / IDS).read_text())["wandb"]
    stretches = sorted((tmp_path / "wandb").glob(f"offline-run-*-{key}/run-{key}.wandb"))
    assert len(stretches) == 2
    deadline = time.monotonic() + 30  # its own process writes the files, at times after the run has ended
    for path, value in zip(stretches, (b"0.25", b"20.25"), strict=True):
        expected = (b"train/loss", value, b"recipe.learning_rate")
        while not all(word in path.read_bytes() for word in expected) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert all(word in path.read_bytes() for word in expected), path.name


@pytest.mark.slow  # twenty seconds, most of them for its database
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_file_of_its_own(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    config = describing("mlflow")
    for first_step in (0, 20):
        with Report(
            tmp_path, "run", 9, first_step=first_step, console=Console(quiet=True), config=config
        ) as report:
            report.row(first_step + 20, {"train/loss": 0.25 + first_step, "none": float("nan")})
    key = json.loads((tmp_path / IDS).read_text())["mlflow"]
    client = mlflow.MlflowClient()
    run = client.get_run(key)
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.learning_rate"] == "0.001"
    assert [(one.step, one.value) for one in client.get_metric_history(key, "train/loss")] == [
        (20, 0.25),
        (40, 20.25),
    ]
    assert client.get_experiment(run.info.experiment_id).name == "spl"


def test_a_tracker_that_is_not_there_is_no_option(smoke):
    check_tracker(None)
    with pytest.raises(UsageError, match=r"--track must be one of 'wandb', 'mlflow', 'tensorboard' or null"):
        smoke("--track", "neptune")
    assert {name for name, _ in options_of(PretrainConfig)} >= {"track"}
    assert set(TRACKERS) == {"wandb", "mlflow", "tensorboard"}


def test_the_ids_must_be_readable(stand_in, tmp_path):
    stand_in()
    Path(tmp_path / IDS).write_text("{")
    with pytest.raises(UsageError, match=r"trackers\.json is missing, empty or cut"):
        tracked(tmp_path)
