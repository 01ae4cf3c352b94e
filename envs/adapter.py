"""Adapter from any Gymnasium environment to observations of video, audio and state; to numbers as actions.

Cutting the streams to shape and skipping frames without losing sound live here.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.actions import ActionForm
from spl.envs.api_checks import flag_of, number_of, put_away
from spl.envs.chosen_streams import (
    audio_processor_of,
    declared_by,
    doubts_of,
    sample_rate_of,
    streams_of,
    video_processor_of,
)
from spl.envs.config import EnvConfig
from spl.envs.preprocessing import AudioProcessor, VideoProcessor
from spl.envs.space_entries import Stream
from spl.envs.state import describe_state, read_state, size_of
from spl.envs.wrapping import describe_wrappers
from spl.media.log_mel import LogMel
from spl.records import Action, Observation, StreamSpec

LIMITS = {"float16": (-np.inf, np.inf), "int8": (-128, 127)}  # of a kept sound
MAX_REWARD = float(np.finfo(np.float32).max)  # a reward is remembered as float32


Sound = NDArray[np.float16] | NDArray[np.int8]  # as it is observed
Frame = tuple[  # picture as it came, waveform (C, N), state (S,)
    NDArray[Any] | None, NDArray[np.float32] | None, NDArray[np.float32]
]


class AudioVisualEnv(gymnasium.Wrapper[Observation, Action, Any, Any]):
    """Shows an environment as :class:`Observation` and repeats each action without losing sound.

    ``waveform`` holds the newest step's ``(C, N)`` float32 samples. A skipped frame's sound is kept; a
    step cut short by the episode's end is followed by silence, the first observation preceded by it. Of
    chunks shorter than the space says, it holds what came, and the frames of the log-mel lie closer. With
    ``audio_features="waveform"`` the observation holds the newest samples alone, as many as a frame has.

    Raises:
        ValueError: if the environment has no usable stream, no sample rate, or actions that
            `ActionForm` refuses.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
        super().__init__(env)
        self.config = config
        try:
            self.actions = ActionForm(env.action_space, config.bins)
        except ValueError as error:
            raise ValueError(f"{config.id}: {error}") from error
        self.action_sizes = self.actions.sizes
        self.streams, self.doubts = streams_of(env, config), doubts_of(env, config)
        self.frame_skip = 1 if config.frame_skip is None else config.frame_skip
        self.sample_rate_hz: int | None = None
        self._video_processor = self._audio_processor = self._log_mel = None
        video_shape = audio_shape = (0, 0, 0)
        audio_dtype: Literal["float16", "int8"] = "float16"
        if self.streams.video is not None:
            self._video_processor = video_processor_of(
                self.streams.video, config, config.video_size, grey=config.grey
            )
            video_shape = self._video_processor.shape
        if self.streams.audio is not None:
            self._audio_processor = audio_processor_of(self.streams.audio, env, config, stereo=config.stereo)
            if self._audio_processor.rest is None:
                self._find_rest_level()
            self.sample_rate_hz = sample_rate_of(env, config)
            num_channels, num_samples = self._audio_processor.shape
            self._step_samples = num_samples * self.frame_skip  # at the most
            self.waveform = np.zeros((num_channels, self._step_samples), np.float32)
            self._newest = np.zeros((num_channels, num_samples), np.float32)
            if config.audio_features == "waveform":
                audio_shape, audio_dtype = (num_channels, 1, num_samples), self._audio_processor.kept_dtype
            else:
                self._log_mel = LogMel(
                    sample_rate_hz=self.sample_rate_hz,
                    num_samples=self._step_samples,
                    num_mels=config.num_mels,
                    num_frames=config.audio_frames,
                    num_channels=num_channels,
                )
                audio_shape = self._log_mel.shape
        num_numbers = sum(size_of(leaf) for leaf in self.streams.state)
        self.spec_of_streams = StreamSpec(video_shape, audio_shape, audio_dtype, num_numbers)
        self._refuse_idle_options()
        self._told: set[str] = set()
        self.begins_at_life_loss = False  # for an agent that learned each life by itself
        self.begins = True  # whether it stands where an episode begins, or with the above a life
        self.lives: int | None = None  # that are left; None: the environment counts none
        self.life_lost = False  # at the newest step
        self._present = np.array([self.streams.video is not None, self.streams.audio is not None])
        sizes = list(self.action_sizes)
        self.action_space: spaces.Space[Any] = (
            spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)
        )
        self.observation_space = spaces.Tuple(  # type: ignore[assignment]
            (
                spaces.Box(0, 255, video_shape, np.uint8),
                spaces.Box(*LIMITS[audio_dtype], audio_shape, np.dtype(audio_dtype).type),
                spaces.Box(0, 1, (2,), np.bool_),
                spaces.Box(-np.inf, np.inf, (num_numbers,), np.float32),
            )
        )

    def _find_rest_level(self) -> None:
        """Hear where the sound rests after a reset with seed 0, so that all copies of it agree."""
        assert self._audio_processor is not None
        with suppress(Exception):  # one that cannot be reset says so when its first episode shall begin
            self._audio_processor(self._part(*self.env.reset(seed=0), "audio"))

    def _refuse_idle_options(self) -> None:
        """Raise where an option was given that nothing here can follow."""
        audio, audio_processor = self.streams.audio, self._audio_processor
        idle = {
            "max_pool=true": (self.config.max_pool and self.frame_skip == 1, "needs a frame_skip above 1"),
            "stereo=true": (
                self.config.stereo and (audio_processor is None or audio_processor.num_channels == 1),
                "needs two channels",
            ),
            "rest_level": (
                self.config.rest_level is not None
                and (audio_processor is None or not audio_processor.swing.is_unsigned),
                "is for a sound of uint8, or of another range that begins at 0",
            ),
            "sample_rate_hz": (self.config.sample_rate_hz is not None and audio is None, "needs a sound"),
            "audio_features=waveform": (
                self.config.audio_features == "waveform" and audio is None,
                "needs a sound",
            ),
        }
        for modality, stream, noun in (("video", self.streams.video, "picture"), ("audio", audio, "sound")):
            for name in (f"{modality}_range", f"{modality}_layout"):
                is_given = getattr(self.config, name) is not None
                idle[name] = (is_given and stream is None, f"needs a {noun}")
        for option, (is_idle, why) in idle.items():
            if is_idle:
                raise ValueError(f"env.{option} {why}, which {self.config.id} does not have: leave it out")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; its first sound follows silence."""
        raw, info = self.env.reset(seed=seed, options=options)
        if self._log_mel is not None:
            self._log_mel.reset()
        self._count_lives(info)
        self.begins = True
        return self._observe([self._take(raw, info)], at_reset=True), info

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Repeat ``action`` ``frame_skip`` times; rewards add up, every frame's sound is kept.

        Raises:
            ValueError: if the environment returns something else than its observation space says, or NaN.
            AnswerError: if the reward is not one number, or an end flag not true or false.
        """
        frames, total = [], 0.0
        for _ in range(self.frame_skip):
            # an action of its own for each frame: an environment may write into it
            raw, reward, *ends, info = self.env.step(self.actions.raw(action))
            frames.append(self._take(raw, info))
            total += number_of(reward)
            terminated, truncated = map(flag_of, ("terminated", "truncated"), ends)
            if terminated or truncated:
                break
        if not abs(total) <= MAX_REWARD:  # NaN compares false
            raise ValueError(f"the reward must be finite as a float32, got {total}")
        self._count_lives(info)
        self.begins = self.begins_at_life_loss and self.life_lost and not (terminated or truncated)
        return self._observe(frames), total, terminated, truncated, info

    def _count_lives(self, info: dict[str, Any]) -> None:
        before, lives = self.lives, info.get("lives")
        self.lives = int(lives) if isinstance(lives, int | np.integer) else None
        self.life_lost = before is not None and self.lives is not None and self.lives < before

    @property
    def processors(self) -> tuple[VideoProcessor | None, AudioProcessor | None, LogMel | None]:
        """What cuts each stream to shape; None for what it lacks."""
        return self._video_processor, self._audio_processor, self._log_mel

    def describe(self) -> dict[str, Any]:
        """Return what was chosen, for ``env.json`` and the terminal."""
        video, audio = self.streams.video, self.streams.audio
        chosen: dict[str, Any] = {
            "id": self.config.id,
            "actions": self.actions.described(),
            "frame_skip": self.frame_skip,
        }
        if self.config.wrappers:
            chosen["wrappers"] = describe_wrappers(self.config)
        if video is not None and self._video_processor is not None:
            chosen["video"] = {
                "key": video.key,
                "from": [list(video.box.shape), str(video.box.dtype)],
                "layout": video.form.layout,
                "taken": video.form.told(),
                "range": list(self._video_processor.range),
                "to": list(self.spec_of_streams.video),
            }
        if audio is not None and self._audio_processor is not None:
            chosen["audio"] = {
                "key": audio.key,
                "from": [list(audio.box.shape), str(audio.box.dtype)],
                "layout": audio.form.layout,
                "taken": audio.form.told(),
                "range": list(self._audio_processor.range),
                "sample_rate_hz": self.sample_rate_hz,
                "samples_per_step": self._step_samples,
                "features": self.config.audio_features,
                "rest_level": self._audio_processor.rest,
                "to": list(self.spec_of_streams.audio),
            }
            if self._log_mel is not None:
                chosen["audio"]["window_samples"] = self._log_mel.window_size
            if (warning := declared_by(self.env, "sound_warning")) is not None:
                chosen["audio"]["warning"] = warning
        if self.streams.state:
            chosen["state"] = describe_state(self.streams.state)
        if self.streams.left_out:
            chosen["left_out"] = [one._asdict() for one in self.streams.left_out]
        return chosen

    def close(self) -> None:
        """Close the environment, whatever it raises meanwhile."""
        put_away(self.env)

    def news(self) -> list[str]:
        """Return a sentence for each stream that went beyond its range, once for each."""
        cut = {"video": self._video_processor, "audio": self._audio_processor}
        told = [(name, one.beyond.told(name)) for name, one in cut.items() if one is not None]
        fresh = [(name, sentence) for name, sentence in told if sentence and name not in self._told]
        self._told.update(name for name, _ in fresh)
        return [sentence for _, sentence in fresh]

    def _take(self, raw: Any, info: dict[str, Any]) -> Frame:
        """Return picture, waveform and state of one frame, copied: an environment may reuse its arrays."""
        picture = waveform = None
        if self._video_processor is not None:
            picture = self._part(raw, info, "video")
        if self._audio_processor is not None:
            waveform = self._audio_processor(self._part(raw, info, "audio"))
        return picture, waveform, read_state(self.streams.state, raw)

    def _observe(self, frames: Sequence[Frame], *, at_reset: bool = False) -> Observation:
        video = np.zeros((0, 0, 0), np.uint8)
        audio: Sound = np.zeros((0, 0, 0), np.float16)
        if self._video_processor is not None:
            pictures = [picture for picture, *_ in frames[-2:] if picture is not None]
            pools = self.config.max_pool and len(pictures) == 2
            video = self._video_processor(np.maximum(*pictures) if pools else pictures[-1])
        if self._audio_processor is not None:
            audio = self._hear([waveform for _, waveform, _ in frames if waveform is not None], at_reset)
        return Observation(video, audio, self._present.copy(), frames[-1][2])

    def _hear(self, chunks: list[NDArray[np.float32]], at_reset: bool) -> Sound:
        """Return what is observed of the chunks of a step, and keep them as ``waveform``."""
        assert self._audio_processor is not None
        heard, num_samples = np.concatenate(chunks, axis=1), self._audio_processor.num_samples
        missing = self._step_samples - heard.shape[1]
        is_whole = all(chunk.shape[1] == num_samples for chunk in chunks)
        silence = np.zeros((heard.shape[0], missing if is_whole or at_reset else 0), np.float32)
        self.waveform = np.concatenate([silence, heard] if at_reset else [heard, silence], axis=1)
        if self._log_mel is not None:
            return self._log_mel.step(self.waveform)
        before = np.zeros_like(self._newest) if at_reset else self._newest
        self._newest = np.concatenate([before, heard], axis=1)[:, -num_samples:]
        return self._audio_processor.keep(self._newest)

    def _part(self, raw: Any, info: dict[str, Any], modality: str) -> NDArray[Any]:
        """Return a copy of one stream of a raw observation, after checking that it is what it shall be."""
        stream: Stream = getattr(self.streams, modality)
        box, part = stream.box, stream.part(raw, info)
        is_float = np.issubdtype(box.dtype, np.floating)
        if not stream.fits(part) or not (
            np.issubdtype(part.dtype, np.floating) if is_float else stream.is_of_kind(part)
        ):
            raise ValueError(
                f"the {modality} must be {box.dtype} of shape {box.shape} as the observation space says, "
                f"got {part.dtype} of shape {part.shape}"
            )
        if is_float and not np.isfinite(part).all():
            raise ValueError(f"the {modality} must be finite, got NaN or infinity")
        return part
