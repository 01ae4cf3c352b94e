"""A rollout of an agent, decision by decision, with the frames and sound between. Drawing is not here."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spl.agents.conditions import Spoiler
from spl.agents.evaluation.decision import Reason
from spl.agents.evaluation.playing import Watch, blamed
from spl.agents.history import History, Stack
from spl.envs.adapter import AudioVisualEnv
from spl.envs.filmed import Camera, Moment
from spl.envs.resumable import reset_seed
from spl.media.log_mel import LogMel
from spl.records import AUDIO, VIDEO, Action, Observation

Decide = Callable[[Stack, int], Reason]  # of a stack, and the step of its episode


AGAIN = -1  # is sent in the place of an action


class Keep(Protocol):
    """What remembers the episodes that are played."""

    def begin(self, observation: Observation) -> None:
        """Take in the first observation of an episode."""
        ...

    def __call__(
        self, action: Action, reward: float, terminated: bool, truncated: bool, following: Observation
    ) -> None:
        """Take in a step."""
        ...


class Shot(NamedTuple):
    """The frames that followed one decision, and the decision that they led to."""

    episode: int
    is_first: bool  # of its episode: what followed is the reset
    moments: list[Moment]
    levels: NDArray[np.float32] | None  # (M, n) of their sound, n in proportion to their number
    reason: Reason | None  # None: the episode is over
    present: tuple[bool, bool] = (True, True)  # whether the agent was given video and audio


def _flags(given: Observation) -> tuple[bool, bool]:
    """Return whether an agent was given video and audio."""
    return bool(given.present[VIDEO]), bool(given.present[AUDIO])


class Player:
    """Plays episodes for a camera.

    Args:
        decide: what the agent does with a stack of observations at a step of an episode.
        env: seen and heard.
        camera: in ``env``.
        history: steps in a stack.
        absent: modalities that are taken from the agent.
        spoil: what happens to them; nothing by default.
        watch: sees what that leaves, and may take more away.
        keep: is told all that happens, before anything is taken away.
        seed: the episodes are those of :func:`spl.agents.evaluation.playing.play` with the same.
    """

    def __init__(
        self,
        decide: Decide,
        env: AudioVisualEnv,
        camera: Camera,
        *,
        history: int,
        absent: tuple[int, ...] = (),
        spoil: Spoiler | None = None,
        watch: Watch | None = None,
        keep: Keep | None = None,
        seed: int = 0,
    ) -> None:
        self.decide, self.env, self.camera, self.absent, self.seed = decide, env, camera, absent, seed
        self.spoil, self.watch, self.keep = spoil, watch, keep
        self._stacks = History(env.spec_of_streams, history=history)
        self._log_mel: LogMel | None = None  # of sound that the agent hears as a waveform
        if env.sample_rate_hz is not None and env.config.audio_features == "waveform":
            self._log_mel = LogMel(
                sample_rate_hz=env.sample_rate_hz,
                num_samples=env.waveform.shape[1],
                num_mels=env.config.num_mels,
                num_frames=env.config.audio_frames,
                num_channels=env.waveform.shape[0],
            )

    def shots(self, num_episodes: int) -> Generator[Shot, Action | None, None]:
        """Yield what is to be filmed; the environment waits meanwhile.

        An action that is sent takes the place of the decision. ``AGAIN`` lets the decision be made once more,
        after ``absent`` was changed: a shot of no frames.

        Raises:
            RunError: if the environment fails.
        """
        for episode in range(num_episodes):
            seed = reset_seed(self.seed, episode)
            with blamed(self.env, seed, 0):
                observation, _ = self.env.reset(seed=seed)
            if self._log_mel is not None:
                self._log_mel.reset()
            if self.keep is not None:
                self.keep.begin(observation)
            step, is_over = 0, False
            while not is_over:
                given = self._given(observation, step)
                self._stacks.push(given, is_first=self.env.begins)
                reason = self._decided(step)
                shot = self._shot(episode, observation.audio, step == 0, reason)
                sent = yield shot._replace(present=_flags(given))
                while sent == AGAIN:
                    given = self._given(observation, step)
                    self._stacks.amend(given)
                    reason = self._decided(step)
                    sent = yield Shot(episode, False, [], None, reason, _flags(given))
                action = reason.action if sent is None else sent
                with blamed(self.env, seed, step + 1):
                    observation, reward, terminated, truncated, _ = self.env.step(action)
                if self.keep is not None:
                    self.keep(action, reward, terminated, truncated, observation)
                step, is_over = step + 1, terminated or truncated
            yield self._shot(episode, observation.audio, False, None)

    def _decided(self, step: int) -> Reason:
        """Return the decision at the newest step; what is remembered of it is carried on."""
        reason = self.decide(self._stacks.stack(), step)
        self._stacks.remember(reason.reached)
        return reason

    def _given(self, observation: Observation, step: int) -> Observation:
        """Return what the agent gets of an observation."""
        given = observation.without(*self.absent)
        if self.spoil is not None:
            given = self.spoil(given, step)
        return given if self.watch is None else self.watch(given, is_first=step == 0)

    def _shot(self, episode: int, audio: NDArray[Any], is_first: bool, reason: Reason | None) -> Shot:
        """Take the frames; of a step of fewer than usual, leave out the silence around them."""
        moments = self.camera.take()
        if self.env.sample_rate_hz is None:
            return Shot(episode, is_first, moments, None, reason)
        if self._log_mel is not None:
            audio = self._log_mel.step(self.env.waveform)
        levels = audio.mean(axis=0, dtype=np.float32)  # (M, F)
        num_frames = levels.shape[1]
        num_heard = -(-num_frames * len(moments) // self.env.frame_skip)
        levels = levels[:, num_frames - num_heard :] if is_first else levels[:, :num_heard]
        return Shot(episode, is_first, moments, levels, reason)
