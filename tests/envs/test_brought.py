"""Worlds as people bring them: what training, recording, evaluation and the checker say of them."""

import io
import json
import multiprocessing
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from spl.agents.config import read_run
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
from spl.agents.film.command import film
from spl.agents.film.config import FilmConfig
from spl.agents.record import RecordConfig, record
from spl.agents.train import train_agent
from spl.config.errors import RunError, UsageError
from spl.envs import range_probe
from spl.envs.check.config import CheckEnvConfig
from spl.envs.check.examine import examine
from spl.envs.config import EnvConfig
from spl.envs.range_probe import measured
from spl.envs.registry import make_env


def quiet() -> Console:
    return Console(file=io.StringIO(), width=500)


def output_of_training(smoke, world: str, *options: str) -> tuple[str, object]:
    """Return what a run of 50 steps says, and its result."""
    console = quiet()
    words = ("--env", f"brought_worlds:{world}", "--num_steps", "50", *options)
    return (result := train_agent(smoke(*words), console=console)) and console.file.getvalue(), result


def ailing(world: str, **options) -> dict[str, tuple[str, str]]:
    """Return the checker's findings that are not good, but for two notes that all these worlds have."""
    config = CheckEnvConfig(env=EnvConfig(id=f"brought_worlds:{world}", **options), num_steps=40)
    found = {one.name: (one.verdict, one.what) for one in examine(config) if one.verdict != "ok"}
    found.pop("frame skip", None)  # no frame rate is reported
    return found


SEEN = {  # pixels of the three states, after a reset with the seeds 0, 1, 2 and so on
    "Plain": {40, 100, 160},
    "Float255": {40, 100, 160},
    "Centred": {13, 64, 115},  # (-0.9 + 1) * 127.5 = 12.75, and so on
    "Unbounded": {13, 64, 115},
    "Stacked": {40, 100, 160},
    "Alpha": {40, 100, 160},
}


@pytest.mark.parametrize(("world", "levels"), SEEN.items())
def test_a_picture_has_the_levels_that_its_author_meant(world, levels):
    config, _ = measured(EnvConfig(id=f"brought_worlds:{world}"), is_apart=False)
    env = make_env(config)
    shown = [env.reset(seed=seed)[0].video for seed in range(12)]
    assert {int(level) for picture in shown for level in np.unique(picture)} == levels


@pytest.mark.parametrize("world", ["LoudFloats", "UnboundedLoud"])
def test_floats_that_hold_int16_levels_are_as_loud_as_those(world):
    config, _ = measured(EnvConfig(id=f"brought_worlds:{world}"), is_apart=False)
    env = make_env(config)
    env.reset(seed=0)
    assert np.abs(env.waveform).max() == pytest.approx(0.3 * 30_000 / 32_768, rel=1e-3)


def test_what_is_settled_is_not_measured():
    config = EnvConfig(id="brought_worlds:Plain")
    assert measured(config, is_apart=False) == (config, [])
    assert measured(EnvConfig(id="spl/Beacon-v0"), is_apart=False)[1] == []


def test_a_process_of_its_own_measures_the_same():
    config = EnvConfig(id="brought_worlds:Unbounded")
    assert measured(config, is_apart=True) == measured(config, is_apart=False)
    with pytest.raises(UsageError, match="neither registers the id Nowhere"):
        measured(EnvConfig(id="brought_worlds:Nowhere"), is_apart=True)


def test_an_environment_that_dies_while_it_is_measured_ends_the_command_in_one_sentence(tmp_path, request):
    runs = (
        "--env",
        "brought_worlds:Aborts",
        "--device",
        "cpu",
        "--num_threads",
        "1",
        "--runs",
        str(tmp_path),
    )
    command = [sys.executable, "-m", "spl", "train", "agent", "--config", "smoke/agent", *runs]
    ended = subprocess.run(command, cwd=request.path.parent.parent, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "brought_worlds:Aborts ended its process (SIGABRT) while the ranges that its" in ended.stderr
    assert "'spl check env brought_worlds:Aborts' shows where" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "agent").exists()


def test_an_environment_that_hangs_while_it_is_measured_is_given_up_in_one_sentence(monkeypatch):
    monkeypatch.setattr(range_probe, "MOST_S", 1.5)
    told = r"Hangs took longer than 1\.5 s while the ranges .* 'spl check env .*Hangs' shows where"
    began = time.monotonic()
    with pytest.raises(RunError, match=told):
        measured(EnvConfig(id="brought_worlds:Hangs"), is_apart=True)
    assert time.monotonic() - began < 30
    assert not multiprocessing.active_children()


def test_training_says_what_it_leaves_out(smoke):
    told, _ = output_of_training(smoke, "StateDecides")
    assert "state 'vector' (3)" in told
    told, _ = output_of_training(smoke, "Spectrogram")
    assert "left out   'audio', Box (64, 32) float32: named as a sound, but of no form that is known" in told
    assert "'spl check env' calls a fault" in told


def test_training_says_what_it_assumes_and_keeps_it(smoke):
    told, result = output_of_training(smoke, "Unbounded")
    assert (
        "assumed    video_range -1 to 1: the bounds of its space are uninformative, and 107 observations"
        in told
    )
    assert "went from -0.9 to -0.1" in told
    config = read_run(result.folder)
    assert config.env.video_range == (-1, 1)
    described = json.loads((result.folder / "env.json").read_text())
    assert described["video"]["range"] == [-1, 1]
    asked = replace(config, num_steps=60, env=replace(config.env, video_range=None))  # as a grid asks
    for again in (replace(config, num_steps=60), asked):
        resumed = train_agent(again, resume=result.folder, console=quiet())
        assert resumed.is_finished
        assert read_run(result.folder).env.video_range == (-1, 1)


def test_training_says_how_it_reads_an_ambiguous_form(smoke):
    told, result = output_of_training(smoke, "Stacked")
    assert "assumed    video_layout HWS, by its values, not HWA" in told
    assert "48 x 48 x 4 (the newest of 4 frames)" in told
    assert read_run(result.folder).env.video_layout == "HWS"
    told, _ = output_of_training(smoke, "Alpha")
    assert "assumed    video_layout AHW, by its values, not SHW" in told
    assert "(alpha laid on black)" in told


def test_training_and_evaluation_say_once_what_lies_beyond(smoke):
    told, result = output_of_training(smoke, "Beyond")
    assert told.count("range      the video goes from") == 1
    assert "beyond its range of 0 to 1" in told
    console = quiet()
    evaluate_agent(result.folder, EvaluateAgentConfig(num_episodes=2, num_seeds=1), console=console)
    assert console.file.getvalue().count("range      the video goes from") == 1


def test_recording_evaluation_explanation_and_films_say_what_they_leave_out(smoke, tmp_path):
    _, result = output_of_training(smoke, "StateDecides", "--env.state_keys", "none")
    console = quiet()
    evaluate_agent(result.folder, EvaluateAgentConfig(num_episodes=2, num_seeds=1), console=console)
    assert (
        "left out   'vector', Box (3,) float32: a state that env.state_keys leaves out"
        in console.file.getvalue()
    )
    console = quiet()
    config = FilmConfig(out=str(tmp_path / "a.mp4"), duration_s=0.2, device="cpu", overlay=False)
    film(result.folder, config, console=console)
    assert (
        "left out   'vector', Box (3,) float32: a state that env.state_keys leaves out"
        in console.file.getvalue()
    )
    console = quiet()
    explain_agent(result.folder, ExplainAgentConfig(num_drawn=1, device="cpu"), console=console)
    assert (
        "left out   'vector', Box (3,) float32: a state that env.state_keys leaves out"
        in console.file.getvalue()
    )
    console = quiet()
    env = EnvConfig(id="brought_worlds:StateDecides", state_keys="none")
    record(RecordConfig(env=env, num_steps=20, out=str(tmp_path / "one")), console=console)
    assert "left out   'vector'" in console.file.getvalue()
    console = quiet()
    env = EnvConfig(id="brought_worlds:UnboundedLoud")
    header = record(RecordConfig(env=env, num_steps=20, out=str(tmp_path / "two")), console=console)
    assert "assumed    audio_range -32,768 to 32,768" in console.file.getvalue()
    meta = json.loads((header["folder"] / "recording.json").read_text())["meta"]
    assert meta["audio"]["range"] == [-32_768, 32_768]


def test_the_checker_finds_nothing_where_forms_and_bounds_are_right():
    for world in ("Plain", "Float255", "Centred", "LoudFloats"):
        assert ailing(world) == {}, world


FOUND = {
    "Spectrogram": ("left out", "fault", "'audio', Box (64, 32) float32: named as a sound"),
    "Unbounded": ("assumed", "note", "video_range -1 to 1: the bounds of its space are uninformative"),
    "UnboundedLoud": ("assumed", "note", "audio_range -32,768 to 32,768"),
    "Stacked": ("assumed", "note", "video_layout HWS, by its values, not HWA"),
    "Alpha": ("assumed", "note", "video_layout AHW, by its values, not SHW"),
    "Beyond": ("range", "fault", "picture goes from 1.2 to 1.2, beyond 0 to 1, at reset (seed 0)"),
    "Faint": ("range", "warning", "picture goes from 0.15686 to 0.62745 only, of 0 to 255"),
    "Still": ("picture", "warning", "constant: all 43 pictures are the same"),
}


@pytest.mark.parametrize(("world", "expected"), FOUND.items())
def test_the_checker_names_what_is_left_open_or_wrong(world, expected):
    name, verdict, words = expected
    found = ailing(world)
    assert list(found) == [name]
    assert found[name][0] == verdict
    assert found[name][1].startswith(words)


def test_an_option_settles_what_the_checker_would_assume():
    assert ailing("Unbounded", video_range=(-1.0, 1.0)) == {}
    assert ailing("Faint", video_range=(0.0, 1.0)) == {}
    assert ailing("Stacked", video_layout="HWS") == {}
