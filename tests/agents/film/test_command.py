"""Films of agents: every frame and every sample of the environment's, in step, and the run left as it was."""

import hashlib
import shutil
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from rich.console import Console

from spl.agents.config import read_run
from spl.agents.evaluation import monitored
from spl.agents.evaluation.choice import played_moments, streams_of
from spl.agents.evaluation.decision import Reason, reason_of
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.rollout import Player, Shot
from spl.agents.film import command, subtitles
from spl.agents.film.command import film
from spl.agents.film.config import FilmConfig
from spl.agents.film.reel import Reel
from spl.agents.history import History, Stack
from spl.agents.load import load_agent
from spl.agents.q_network.network import MultimodalQNetwork
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.filmed import Camera, make_filmed
from spl.envs.resumable import reset_seed
from spl.explain.words import Evidence
from spl.models.encoder import EncoderConfig, build_encoder
from spl.processes.signals import StopSignals
from spl.records import Observation, StreamSpec

ROOT = Path(__file__).parents[3]
SMOKE = ["--config", str(ROOT / "configs/smoke/agent.yaml"), "--num_threads", "1", "--device", "cpu"]
SEED = 7


def train(folder: Path, *words: str) -> Path:
    argv = [*SMOKE, "--num_steps", "60", "--runs", str(folder), *words]
    assert cli.main(["train", "agent", *argv]) == 0
    (run,) = (folder / "agent").iterdir()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a greeting world of two visits, 37 frames an episode."""
    words = ["--env", "spl/Greeting-v0", "--env.kwargs.num_visits", "2", "--memory.history", "3"]
    words += ["--env.video_size", "64,64", "--agent.thirds", "none"]  # so few updates leave maps only then,
    words += ["--seed", "0"]  # and of half of the seeds
    return train(tmp_path_factory.mktemp("greeting"), *words)


def shoot(run: Path, out: Path, **options):
    config = FilmConfig(**{"out": str(out), "seed": SEED, "device": "cpu", "scale": 2, **options})
    return film(run, config, console=Console(quiet=True))


def played(run: Path, num_episodes: int, *, absent=()) -> tuple[list[np.ndarray], np.ndarray, list[float]]:
    """Return pictures, sound ``(n,)`` and returns of the same episodes, played without any of ours around."""
    agent, make, history, _ = load_agent(run, "cpu")
    env, pictures, sounds, returns = make(), [], [], []
    stacks = History(env.spec_of_streams, history=history)

    def meet(observation: Observation, is_first: bool) -> None:
        pictures.append(env.unwrapped._video.copy())
        sounds.append(env.waveform[0].copy())
        stacks.push(observation.without(*absent), is_first=is_first)

    for episode in range(num_episodes):
        observation, _ = env.reset(seed=reset_seed(SEED, episode))
        meet(observation, True)
        returns.append(0.0)
        is_over = False
        while not is_over:
            observation, reward, terminated, truncated, _ = env.step(*agent.act(stacks.stack(), 0.0))
            meet(observation, False)
            returns[-1] += reward
            is_over = terminated or truncated
    return pictures, np.concatenate(sounds), returns


def decoded(path: Path, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures ``(n, H, W, 3)`` and sound ``(C, m)`` of a film."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    sounds = [np.zeros((1, 0), np.float32)]
    with av.open(str(path)) as container:
        if container.streams.audio:
            layout = container.streams.audio[0].layout
            resampler = av.AudioResampler("fltp", layout, rate_hz)
            frames = [*container.decode(audio=0), None]
            sounds = [part.to_ndarray() for frame in frames for part in resampler.resample(frame)]
    return np.stack(pictures), np.concatenate(sounds, axis=1)


def correlation(one: np.ndarray, other: np.ndarray, lag: int = 0) -> float:
    one, other = (one[lag:], other[: other.size - lag]) if lag >= 0 else (one[:lag], other[-lag:])
    size = min(one.size, other.size)
    return float(np.corrcoef(one[:size], other[:size])[0, 1])


def test_the_film_has_every_frame_and_every_sample_in_step(run, tmp_path):
    done = shoot(run, tmp_path / "a.mp4", num_episodes=2)
    pictures, sound, returns = played(run, 2)
    assert done["frames"] == len(pictures) == 74
    assert done["returns"] == returns
    assert done["seconds"] == pytest.approx(sound.size / 16_000)
    shown, (heard,) = decoded(tmp_path / "a.mp4", 16_000)
    assert len(shown) == 74
    assert abs(heard.size - sound.size) <= 1024, "up to a frame of AAC is added"
    lags = {lag: correlation(heard, sound, lag) for lag in (-64, -8, -2, -1, 0, 1, 2, 8, 64)}
    assert lags[0] > 0.99
    assert max(lags, key=lags.get) == 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.pix_fmt, video.average_rate, audio.rate) == ("yuv420p", 10, 16_000)
        assert float(video.duration * video.time_base) == pytest.approx(7.4, abs=0.01)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it plays while it loads"


def test_without_overlay_the_pictures_are_the_environments_and_with_it_they_are_not(run, tmp_path):
    pictures, _, _ = played(run, 1)
    plain = shoot(run, tmp_path / "plain.mp4", overlay=False)
    shoot(run, tmp_path / "warm.mp4")
    assert plain["frames"] == len(pictures)
    (shown, _), (warm, _) = decoded(tmp_path / "plain.mp4", 16_000), decoded(tmp_path / "warm.mp4", 16_000)
    top = (400 - 128) // 2 + 16  # in the middle of the panel's height, at twice its size
    for number, picture in enumerate(pictures):
        seen = shown[number, top : top + 128, 16:144].astype(float).mean(axis=2)
        seen = seen.reshape(64, 2, 64, 2).mean(axis=(1, 3))
        assert np.abs(seen - picture).mean() < 8.0, number
    colour = np.ptp(warm[:, top : top + 128, 16:144].astype(int), axis=3)
    assert colour.max() > 60, "maps have colours"
    assert np.ptp(shown[:, top : top + 128, 16:144].astype(int), axis=3).max() < 40
    assert (np.abs(np.diff(shown.astype(int), axis=0)).max(axis=(1, 2, 3)) > 20).all(), "it moves"


def test_without_out_the_film_lies_in_the_runs_folder_and_on_its_page(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    assert (
        cli.main(["film", str(copied), "--duration_s", "0.3", "--overlay", "false", "--device", "cpu"]) == 0
    )
    told = "0.3 s, 3 frames, return 0 so far: the film ends before the episode\n"
    assert f"{copied}/agent.mp4: {told}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert cli.main(["report", str(copied)]) == 0
    assert 'src="data:video/mp4' in (copied / "report.html").read_text()


def test_a_small_picture_has_a_map_although_the_last_convolution_leaves_one_place():
    torch.manual_seed(0)
    config = EncoderConfig(attention="none")
    encoder = build_encoder(config, StreamSpec((1, 36, 36), (1, 16, 8)), history=2)  # 36 -> 8 -> 3 -> 1
    network = MultimodalQNetwork(encoder, (4,), dueling=True, fusion="joint")
    video = torch.randint(0, 256, (1, 2, 1, 36, 36), dtype=torch.uint8)
    stack = Stack(video, torch.rand(1, 2, 1, 16, 8).half(), torch.tensor([[True, True]]), torch.zeros(1, 0))
    maps = []
    for action in range(4):
        agent = SimpleNamespace(
            network=network, device=torch.device("cpu"), decide=lambda *_, action=action: ([action], None)
        )
        maps.append(reason_of(agent, stack, streams_of(agent, stack), with_maps=True).seen)
    assert max(one.max() for one in maps) == 1.0, "a map of one place is even, and so zeros"


def test_the_sentences_stand_beside_the_film_while_their_decisions_are_shown(run, tmp_path, monkeypatch):
    told = iter(range(1_000))  # so that no two sentences are alike
    monkeypatch.setattr(subtitles, "sentence", lambda action, evidence: f"{action}, {next(told)}")
    for subtitle_s, spacing in ((0.5, 5), (0.0, 1)):  # in decisions, of 0.1 s
        done = shoot(run, tmp_path / "a.mp4", num_episodes=2, subtitle_s=subtitle_s, overlay=False)
        assert done["subtitles"] == tmp_path / "a.srt"
        cues = [block.split("\n") for block in (tmp_path / "a.srt").read_text().strip().split("\n\n")]
        assert [int(number) for number, _, _ in cues] == list(range(1, len(cues) + 1))
        begins = [first + step for first in (0, 37) for step in range(0, 36, spacing)]
        ends = [min(frame + spacing, 36 if frame < 36 else 73) for frame in begins]
        assert [time for _, time, _ in cues] == [
            f"00:00:0{a // 10},{a % 10}00 --> 00:00:0{b // 10},{b % 10}00"
            for a, b in zip(begins, ends, strict=True)
        ]
        assert {text.partition(",")[0] for _, _, text in cues} <= {"WAIT", "LOOK", "WAVE", "HANDSHAKE"}


def test_a_sentence_that_is_said_again_stays_and_what_begins_after_the_film_is_left_out():
    kept = subtitles.Subtitles(["LEFT", "RIGHT"].__getitem__)
    for begins_s, action, changes in ((0.0, 0, 0.8), (1.5, 0, 0.8), (3600.5, 1, 0.8), (3602.0, 1, 0.0)):
        evidence = Evidence((True, True), (True, True), (changes, 0.0, changes))
        reason = Reason(action, np.zeros(2, np.float32), None, evidence=evidence)
        kept.take_in(Shot(0, False, [], None, reason), begins_s)
    assert kept.as_srt(3601.25) == (
        "1\n00:00:00,000 --> 01:00:00,500\nLEFT: 100 % by video; audio counted for little\n\n"
        "2\n01:00:00,500 --> 01:00:01,250\nRIGHT: 100 % by video; audio counted for little\n"
    )


def test_what_is_no_run_gets_no_folder(tmp_path, capsys):
    for words in ((), ("--out", str(tmp_path / "films" / "a.mp4"))):
        assert "it has no config.yaml" in refused(tmp_path / "no-run", *words, capsys=capsys)
    assert not list(tmp_path.iterdir())


def state_of(run: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    return {str(one): (hashlib.sha256(one.read_bytes()).hexdigest(), one.stat().st_mtime_ns) for one in files}


def test_run_and_generators_are_left_as_they_are(run, tmp_path):
    before, torch_state, numpy_state = state_of(run), torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    shoot(run, tmp_path / "a.mp4", duration_s=1.0)
    assert state_of(run) == before
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.srt"]


def test_same_seed_gives_the_same_film_and_seconds_end_it(run, tmp_path):
    one, other = (shoot(run, tmp_path / name, duration_s=1.45) for name in ("a.mp4", "b.mp4"))
    assert one["frames"] == other["frames"] == 14
    np.testing.assert_array_equal(
        decoded(tmp_path / "a.mp4", 16_000)[0], decoded(tmp_path / "b.mp4", 16_000)[0]
    )
    later = shoot(run, tmp_path / "c.mp4", duration_s=1.45, seed=SEED + 1)
    assert later["frames"] == 14
    assert (decoded(tmp_path / "c.mp4", 16_000)[1] != decoded(tmp_path / "a.mp4", 16_000)[1]).any()


@pytest.mark.parametrize(("modalities", "absent"), [("video", (1,)), ("audio", (0,))])
def test_a_modality_can_be_taken_from_the_agent_and_is_filmed_all_the_same(run, tmp_path, modalities, absent):
    done = shoot(run, tmp_path / "a.mp4", modalities=modalities)
    _, sound, returns = played(run, 1, absent=absent)
    assert done["returns"] == returns
    assert correlation(decoded(tmp_path / "a.mp4", 16_000)[1][0], sound) > 0.99


def test_a_failing_modality_is_shown_absent_once_the_monitor_found_it(run, tmp_path, monkeypatch):
    monkeypatch.setattr(monitored, "FIT_STEPS", 1_500)
    run = shutil.copytree(run, tmp_path / "run", symlinks=True)
    monkeypatch.setattr(command, "write_reel", lambda path, reel, player, _: shots.extend(player.shots(1)))
    with pytest.raises(UsageError, match="has no monitor yet: fit it with"):
        shoot(run, tmp_path / "a.mp4", monitor=True)
    judged = EvaluateAgentConfig(num_episodes=2, num_seeds=1, monitor=True)
    evaluate_agent(run, judged, console=Console(quiet=True))
    flags, actions = {}, {}
    for name, monitor in (("video fails midway", False), ("video frozen", True), ("video frozen", False)):
        shots: list = []
        shoot(run, tmp_path / "a.mp4", failure=name, fails_at_step=9, monitor=monitor)
        flags[name, monitor] = [shot.present for shot in shots if shot.reason is not None]
        actions[name, monitor] = [shot.reason.action for shot in shots if shot.reason is not None]
    flagged, found = ("video fails midway", False), ("video frozen", True)
    assert flags[flagged] == [(step < 9, True) for step in range(36)]
    assert flags[found] == flags[flagged]
    assert actions[found] == actions[flagged], "it acts as if it had been told"
    assert flags["video frozen", False] == [(True, True)] * 36
    with pytest.raises(UsageError, match=r"must be one of video only, .*, audio mute, got video broken"):
        shoot(run, tmp_path / "a.mp4", failure="video broken")


def test_no_more_than_a_frame_of_sound_waits_and_a_signal_ends_the_film_whole(run):
    agent, make, history, _ = load_agent(run, "cpu")
    moments = played_moments(agent, make, history, SEED)
    env, camera = make_filmed(read_run(run).env)
    stop = StopSignals()
    reel = Reel(env, camera, FilmConfig(num_episodes=2, device="cpu"), stop)
    player = Player(
        lambda stack, _: reason_of(agent, stack, moments, with_maps=False), env, camera, history=history
    )
    sounds, num_heard = reel.sounds(), 0
    for number, frame in enumerate(reel.frames(player.shots(2)), start=1):
        assert frame.dtype == np.uint8
        assert len(next(sounds)) == 1600
        num_heard += 1
        assert not reel._sounds
        if number == 50:
            stop.stop()
    assert num_heard == reel.num_frames == 50
    assert len(reel.returns) == 2


def test_an_environment_that_fails_ends_the_film_which_is_kept(run, tmp_path, monkeypatch, capsys):
    path, steps, step = tmp_path / "a.mp4", count(1), Camera.step

    def failing(camera, action):
        if next(steps) == 10:
            raise OSError(19, "No such device")
        return step(camera, action)

    monkeypatch.setattr(Camera, "step", failing)
    words = [
        "film",
        str(run),
        "--out",
        str(path),
        "--overlay",
        "false",
        "--device",
        "cpu",
        "--seed",
        str(SEED),
    ]
    assert cli.main(words) == 1
    assert capsys.readouterr().err.strip() == (
        f"spl: the environment failed at step 10 of the episode whose seed is {reset_seed(SEED, 0)}: "
        "OSError: [Errno 19] No such device; look at it with: spl check env spl/Greeting-v0; "
        f"the film {path} ends there"
    )
    assert len(decoded(path, 16_000)[0]) == 10
    assert path.with_suffix(".srt").is_file()


def test_an_environment_that_fails_beforehand_is_told_in_a_sentence(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(AudioVisualEnv, "step", lambda *_: {}["missing"])
    assert cli.main(["film", str(run), "--out", str(tmp_path / "a.mp4"), "--device", "cpu"]) == 1
    assert "the environment failed at step 1 of the episode whose seed is" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


SILENT = """
import gymnasium
import numpy as np


class Silent(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (40, 48, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(30)
    metadata = {"render_fps": 12}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_ = 0
        return self._look(), {}

    def step(self, action):
        self.step_ += 1
        return self._look(), 0.5, self.step_ == 9, False, {}

    def _look(self):
        return np.full((40, 48, 3), 20 * self.step_, np.uint8)
"""


def test_an_environment_without_sound_makes_a_silent_film_and_it_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "silent_world.py").write_text(SILENT)
    monkeypatch.syspath_prepend(tmp_path)
    run = train(tmp_path / "runs", "--env", "silent_world:Silent")
    out = tmp_path / "films" / "a.mp4"
    assert cli.main(["film", str(run), "--out", str(out), "--device", "cpu", "--overlay", "false"]) == 0
    told = capsys.readouterr()
    assert "the environment has no audio: the film is silent" in told.err
    assert f"{out}: 0.8 s, 10 frames, return 4.5" in told.out
    with av.open(str(out)) as container:
        assert not container.streams.audio
        assert container.streams.video[0].average_rate == 12
    assert cli.main(["film", str(run), "--out", str(out), "--modalities", "video"]) == 2
    assert "the agent has video alone, got --modalities video: leave it out" in capsys.readouterr().err


def test_an_ale_game_is_filmed_at_60_frames_a_second_in_colours_with_all_its_sound(tmp_path):
    pytest.importorskip("ale_py")
    run = train(tmp_path, "--env", "ALE/Pong-v5")
    done = shoot(run, tmp_path / "a.mp4", duration_s=3.0, scale=1)
    agent, make, history, _ = load_agent(run, "cpu")
    env = make()
    stacks = History(env.spec_of_streams, history=history)
    observation, _ = env.reset(seed=reset_seed(SEED, 0))
    sounds = [env.waveform[0, -512:].copy()]
    stacks.push(observation, is_first=True)
    while sum(map(len, sounds)) < 180 * 512:
        observation, *_ = env.step(*agent.act(stacks.stack(), 0.0))
        sounds.append(env.waveform[0].copy())
        stacks.push(observation, is_first=False)
    sound = np.concatenate(sounds)[: 180 * 512]
    assert np.abs(sound).max() > 0.05, "there is something to hear"
    shown, (heard,) = decoded(tmp_path / "a.mp4", 30_720)
    assert done["frames"] == len(shown) == 180
    assert abs(heard.size - sound.size) <= 2048
    assert correlation(heard, sound) > 0.99
    assert np.ptp(shown[150, 130:200, 40:140].astype(int), axis=2).max() > 60, "Pong's ground is brown"


@pytest.mark.slow
def test_an_agent_that_hears_the_waveform_has_a_strip_and_no_map_of_it_which_is_said(tmp_path, capsys):
    words = ["--env.audio_features", "waveform", "--encoder.audio_stream", "mlp"]
    run = train(tmp_path, *words)
    out = tmp_path / "a.mp4"
    assert cli.main(["film", str(run), "--out", str(out), "--device", "cpu", "--seed", str(SEED)]) == 0
    assert "the audio stream has no convolutions: no map of what it attends to" in capsys.readouterr().err
    shown, (heard,) = decoded(out, 16_000)
    _, sound, _ = played(run, 1)
    assert correlation(heard, sound) > 0.99
    strip = shown[30, -220:-80].astype(int)
    assert strip.max() - strip.min() > 150, "the strip is painted"


def refused(run: Path, *words: str, capsys) -> str:
    assert cli.main(["film", str(run), *words]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_filmed_is_told_in_one_sentence(run, tmp_path, capsys):
    told = refused(run, "--out", str(tmp_path), capsys=capsys)
    assert "out must end in one of .mp4, .mov, .mkv, .webm, .avi" in told
    (tmp_path / "dir.mp4").mkdir()
    told = refused(run, "--out", str(tmp_path / "dir.mp4"), capsys=capsys)
    assert told.endswith("dir.mp4 cannot be written: it is a folder; choose another --out\n")
    (tmp_path / "file").touch()
    told = refused(run, "--out", str(tmp_path / "file" / "a.mp4"), capsys=capsys)
    assert "cannot be written" in told
    assert told.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert "it has no config.yaml" in refused(tmp_path / "empty", "--out", "a.mp4", capsys=capsys)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    told = refused(bare, "--out", str(tmp_path / "a.mp4"), capsys=capsys)
    assert told == f"spl: {bare} has no checkpoint yet: let it train for longer\n"
    assert cli.main(["film"]) == 2
    assert "give the run directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
        ({"duration_s": 0.0}, "duration_s must be positive"),
        ({"scale": 33}, r"scale must be in 1\.\.32"),
        ({"seed": -1}, "seed must be in 0..4294967295"),
        ({"fails_at_step": 3}, "fails_at_step=3 needs --failure, such as 'video frozen'"),
    ],
)
def test_ranges(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        FilmConfig(**option)
