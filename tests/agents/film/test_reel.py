"""The frames of a film and their sound, of environments whose chunks of sound vary in length."""

from pathlib import Path

import av
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from spl.agents.evaluation.decision import Reason
from spl.agents.evaluation.rollout import Player
from spl.agents.film import command
from spl.agents.film.command import write_reel
from spl.agents.film.config import FilmConfig
from spl.agents.film.reel import Reel
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.envs.filmed import Camera
from spl.processes.signals import StopSignals

MOST, RATE_HZ, NUM_FRAMES, LOUD = 900, 8_000, 24, 20


class Varying(gymnasium.Env):
    """Is bright and loud in one late frame, else dark and quiet; its chunks have 0 to 900 samples."""

    observation_space = spaces.Dict(
        image=spaces.Box(0, 255, (32, 32), np.uint8), audio=spaces.Box(-1, 1, (MOST,), np.float32)
    )
    action_space = spaces.Discrete(2)
    sample_rate_hz = RATE_HZ

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return self._observe(), {}

    def step(self, action):
        self.frame += 1
        return self._observe(), 0.0, self.frame == NUM_FRAMES - 1, False, {}

    def _observe(self):
        is_loud = self.frame == LOUD
        number = 0 if self.frame == 3 else 700 if is_loud else int(self.np_random.integers(700, MOST + 1))
        tone = np.sin(np.arange(number) * 0.4).astype(np.float32)
        return {
            "image": np.full((32, 32), 220 if is_loud else 20, np.uint8),
            "audio": tone * (0.9 if is_loud else 0.01),
        }


def varying(stop: StopSignals) -> tuple[Reel, Player]:
    """Return the frames of an episode of it, and who plays it."""
    config = EnvConfig(video_size=(32, 32), num_mels=8, audio_frames=4)
    camera = Camera(Varying(), config)
    env = AudioVisualEnv(camera, config)
    player = Player(lambda *_: Reason(0, np.zeros(0, np.float32), None), env, camera, history=1)
    return Reel(env, camera, FilmConfig(num_episodes=1, overlay=False, scale=1), stop), player


def test_a_signal_before_the_first_frame_leaves_an_earlier_film(tmp_path: Path):
    (path := tmp_path / "a.mp4").write_bytes(b"earlier")
    with StopSignals() as stop:
        stop.stop()
        with pytest.raises(KeyboardInterrupt):
            write_reel(path, *varying(stop), Console(quiet=True))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a.mp4", b"earlier")]


def test_a_disk_that_is_full_is_told_with_the_films_name(tmp_path: Path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device", ".a.7.new.mp4")

    monkeypatch.setattr(command, "write_video", full)
    path = tmp_path / "a.mp4"
    with pytest.raises(
        OSError, match=rf"^the film {path} cannot be written: No space left on device; choose"
    ):
        write_reel(path, *varying(StopSignals()), Console(quiet=True))


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_sound_of_varying_length_lasts_as_long_as_the_picture_and_stays_in_step(tmp_path: Path, suffix):
    path = tmp_path / f"a{suffix}"
    write_reel(path, *varying(StopSignals()), Console(quiet=True))
    with av.open(str(path)) as container:
        bright = [float(frame.to_ndarray(format="gray8").max()) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        heard = np.concatenate([one.to_ndarray().ravel() for one in container.decode(audio=0)])
    heard = heard / (1.0 if heard.dtype == np.float32 else 32_768.0)
    assert len(bright) == NUM_FRAMES
    assert heard.size == pytest.approx(NUM_FRAMES * MOST, abs=2_048)  # AAC adds up to two frames
    loud = np.flatnonzero(np.abs(heard) > 0.4)
    assert loud[0] == pytest.approx(LOUD * MOST, abs=64)
    assert loud[-1] == pytest.approx(LOUD * MOST + 700, abs=64)
