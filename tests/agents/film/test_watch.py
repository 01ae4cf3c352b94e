"""Watching live: what each key does, in a window that nobody sees, and a human's recording."""

import io
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from spl.agents.film import watch as module
from spl.agents.film.controls import Controls
from spl.agents.film.watch import WatchConfig, watch
from spl.agents.film.window import Speaker, Window
from spl.agents.replay.memory import ReplayMemory
from spl.cli import main as cli
from spl.envs.config import EnvConfig
from spl.records import AUDIO, VIDEO

pygame = pytest.importorskip("pygame")
ROOT = Path(__file__).parents[3]
BEACON = {"num_rounds": 3}
NAMES = ["UP", "RIGHT", "DOWN", "LEFT"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a short world."""
    folder = tmp_path_factory.mktemp("watched")
    words = ["--config", str(ROOT / "configs/smoke/agent.yaml"), "--num_threads", "1", "--device", "cpu"]
    words += ["--num_steps", "60", "--runs", str(folder), "--env.kwargs.num_rounds", "3"]
    assert cli.main(["train", "agent", *words]) == 0
    (found,) = (folder / "agent").iterdir()
    return found


@pytest.fixture
def unseen(monkeypatch):
    """A window and a loudspeaker that nobody sees or hears."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")


@pytest.fixture
def pages(monkeypatch, unseen):
    """Press keys as the pages come: ``pages.keys`` holds what is posted after so many of them."""

    class Pages(list):
        keys: dict[int, list[str]] = {}

    pages = Pages()
    show = Window.show

    def noted(window: Window, picture: np.ndarray) -> None:
        show(window, picture)
        pages.append(picture)
        for word in pages.keys.get(len(pages), []):
            kind = pygame.KEYUP if word.startswith("-") and len(word) > 1 else pygame.KEYDOWN
            name = word.removeprefix("-") if kind == pygame.KEYUP else word
            pygame.event.post(pygame.event.Event(kind, key=pygame.key.key_code(name), unicode=name[:1]))

    monkeypatch.setattr(Window, "show", noted)
    return pages


def quiet() -> Console:
    return Console(file=io.StringIO(), width=300)


def config(**options) -> WatchConfig:
    return WatchConfig(**{"device": "cpu", "speed": 32.0, "seed": 7, "overlay": False, **options})


def press(controls: Controls, *keys: str) -> Controls:
    for key in keys:
        controls.press(key)
    return controls


def test_keys_of_the_pace():
    controls = press(Controls(NAMES), "+", "+", "-")
    assert (controls.speed, controls.told()) == (2.0, "speed 2 x")
    assert press(controls, *"-" * 9).speed == 0.125
    assert press(controls, *"+" * 20).speed == 32.0
    assert controls.takes_step()
    press(controls, "p")
    assert (controls.is_paused, controls.takes_step()) == (True, False)
    press(controls, "n", "n")
    assert [controls.takes_step() for _ in range(3)] == [True, True, False]
    assert not press(controls, "space").is_paused
    assert press(controls, "n").is_paused  # a single step pauses
    assert press(controls, "escape").is_closed
    assert press(Controls(NAMES), "q").is_closed


def test_keys_that_take_a_modality_away():
    controls = press(Controls(NAMES), "v")
    assert (controls.absent, controls.told()) == ({VIDEO}, "speed 1 x · video taken away")
    assert press(controls, "a").absent == {VIDEO, AUDIO}
    assert press(controls, "v").absent == {AUDIO}
    assert press(Controls(NAMES, is_human=True), "v", "a").absent == set()


@pytest.mark.parametrize(
    ("names", "keys", "action"),
    [
        (NAMES, ["left"], 3),
        (NAMES, ["2"], 1),
        (NAMES, ["5"], None),
        (NAMES, [], None),
        (NAMES, ["space"], None),
        (["NOOP", "FIRE", "UP", "UPFIRE", "UPRIGHTFIRE"], [], 0),
        (["NOOP", "FIRE", "UP", "UPFIRE", "UPRIGHTFIRE"], ["space"], 1),
        (["NOOP", "FIRE", "UP", "UPFIRE", "UPRIGHTFIRE"], ["up", "space"], 3),
        (["NOOP", "FIRE", "UP", "UPFIRE", "UPRIGHTFIRE"], ["up", "right", "space"], 4),
        (["NOOP", "FIRE", "UP", "UPFIRE", "UPRIGHTFIRE"], ["up", "left"], 2),
        (["NOOP", "B", "LEFT", "B+LEFT", "A+LEFT"], ["left", "space"], 3),
        (["LOOK", "HAND", "UPSET"], ["up"], None),
        (["+2.0", "+0.0", "-2.0"], ["3"], 2),
    ],
)
def test_keys_of_a_human(names, keys, action):
    controls = press(Controls(names, is_human=True), *keys)
    assert controls.action() == action
    assert controls.told().startswith(f"speed 1 x · 1 {names[0]} · 2 {names[1]}")
    for key in keys:
        controls.release(key)
    assert controls.action() == (0 if names[0] == "NOOP" else None)


def test_an_agent_is_watched_to_the_end_of_its_episodes(run, unseen):
    console = quiet()
    done = watch(run, config(num_episodes=2), console=console)
    assert len(done["returns"]) == 2
    assert done["recording"] is None
    assert "no sound device" not in console.file.getvalue()


def test_each_key_does_its_work_in_the_window(run, pages):
    pages.keys = {1: ["p"], 2: ["v"], 3: ["v"], 4: ["a"], 5: ["n"], 6: ["p"], 7: ["+"], 9: ["q"]}
    watch(run, config(speed=1.0), console=quiet())
    assert len({page.shape for page in pages}) == 1

    assert all(not np.array_equal(one, other) for one, other in pairwise(pages[:6]))
    assert len(pages) < 40


def test_a_modality_that_is_taken_away_changes_the_decision_at_once(run, pages, monkeypatch):
    seen = []
    draw = module.Live.draw

    def noted(reel, shot, moment, share):
        seen.append((shot.present, None if shot.reason is None else shot.reason.values.tolist()))
        return draw(reel, shot, moment, share)

    monkeypatch.setattr(module.Live, "draw", noted)
    pages.keys = {1: ["p"], 2: ["v"], 3: ["v"], 4: ["a"], 5: ["q"]}
    watch(run, config(speed=1.0), console=quiet())
    states = dict.fromkeys((present, tuple(values)) for present, values in seen)
    assert [present for present, _ in states] == [(True, True), (False, True), (True, False)]
    assert len({values for _, values in states}) == 3  # and with all of it back, it is as it was


def test_a_human_plays_and_is_recorded(tmp_path, pages):
    pages.keys = {1: ["right"], 4: ["-right", "up"], 7: ["q"]}
    out = tmp_path / "mine"
    options = {"human": True, "env": EnvConfig(kwargs=BEACON), "out": str(out)}
    done = watch(None, config(**options), console=quiet())
    memory = ReplayMemory.load(out)
    assert done["recording"] == out
    assert (memory.meta["actor"], memory.meta["id"]) == ("human", "spl/Beacon-v0")
    slots, envs = memory.indices()
    actions = memory.gather(slots, envs).action.tolist()
    assert len(actions) == memory.meta["steps"] == done["steps"] >= 3
    assert set(actions) == {0, 1}
    assert actions == sorted(actions, reverse=True)


def test_a_human_who_does_nothing_leaves_no_recording(tmp_path, pages):
    pages.keys = {1: ["q"]}
    out = tmp_path / "mine"
    assert watch(None, config(human=True, out=str(out)), console=quiet())["recording"] is None
    assert not out.exists()


def test_without_a_display_the_film_is_pointed_to(monkeypatch, capsys, run):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    assert cli.main(["watch", str(run)]) == 2
    told = "spl: there is no display to open a window on (none is connected): 'spl film RUN' writes a video"
    assert capsys.readouterr().err == f"{told} instead\n"


def test_without_a_sound_device_it_goes_on_and_says_so(run, unseen, monkeypatch):
    monkeypatch.setenv("SDL_AUDIODRIVER", "nonsense")
    console = quiet()
    assert len(watch(run, config(num_episodes=1), console=console)["returns"]) == 1
    assert "note: there is no sound device (" in console.file.getvalue()


def test_without_a_run_there_is_nobody_to_watch(capsys, unseen):
    assert cli.main(["watch"]) == 2
    assert "give the run directory" in capsys.readouterr().err
    assert cli.main(["watch", "spl/Beacon-v0"]) == 2
    assert "spl/Beacon-v0" in capsys.readouterr().err


def test_sound_is_as_long_as_it_lasts_at_every_speed(unseen):
    speaker = Speaker(8_000)
    queue = lambda sound: lengths.append(sound.get_length())  # noqa: E731
    speaker._channel = SimpleNamespace(queue=queue, get_queue=lambda: None)
    for speed, seconds in ((1.0, 0.4), (2.0, 0.2), (0.5, 0.5)):  # at most half a second waits
        lengths: list[float] = []
        speaker.play(np.zeros((3_200, 1), np.float32), speed)
        assert lengths == [pytest.approx(seconds, abs=1e-3)]
    speaker.close()
