"""A trained agent in the user's own loop: raw observations in, actions of the user's environment out."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from spl.agents.bundle import is_bundle, read_bundle
from spl.agents.dqn import MultimodalDqn
from spl.agents.history import History, Stack
from spl.agents.hub import local_folder
from spl.agents.load import Which, check_which, load_agent
from spl.agents.monitor.fitted import load_usual
from spl.agents.monitor.monitor import ModalityMonitor
from spl.data.audiovisual import NAMES
from spl.envs.adapter import AudioVisualEnv
from spl.envs.given import Cutter, Frame
from spl.envs.wrapping import wrap
from spl.processes.threads import one_thread
from spl.runs.directory import generator_of, pick_device


class TrainedAgent:
    """Acts on raw observations as ``spl evaluate agent`` does: the same preprocessing, history, network.

    Where the run repeats actions (``env.frame_skip``), each frame is handed to :meth:`act`, which returns the
    same action until the next decision is due.

    Args:
        dqn: whose network acts.
        adapter: of the environment that it was trained in, as it is before its first episode.
        history: steps that the network reads.
        step: at which it was saved.
        monitor: takes a modality that fails from the agent, as an absent one is; None: all are trusted.
    """

    def __init__(
        self,
        dqn: MultimodalDqn,
        adapter: AudioVisualEnv,
        *,
        history: int,
        step: int,
        monitor: ModalityMonitor | None = None,
    ) -> None:
        self.dqn, self.history, self.step, self.monitor = dqn, history, step, monitor
        self.cutter = Cutter(adapter)
        self.observation_space, self.action_space = adapter.env.observation_space, adapter.env.action_space
        self._stacks = History(self.cutter.adapter.spec_of_streams, history=history)
        self.reset()

    def reset(self) -> None:
        """Begin an episode: what was seen and heard before is forgotten."""
        self._frames: list[Frame] = []  # since the last decision
        self._action: Any = None  # as the network numbers them; None: nothing is decided yet

    def act(self, observation: Any, info: Mapping[str, Any] | None = None, *, epsilon: float = 0.0) -> Any:
        """Return an action of the user's environment.

        Args:
            observation: as that environment returns it. A modality may be missing or None: the agent is told
                that it is absent.
            info: that came with it; of it are read ``audio_samples``, of chunks of varying length, and
                ``lives`` for an agent trained with ``terminal_on_life_loss``, whose history begins with each.
            epsilon: chance of a random action.

        Raises:
            ValueError: if a stream is of another shape or type than in training, not finite, or all are
                missing, or one is while there is a key that the environment has not; or if ``epsilon`` is
                not in 0..1.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon must be in 0..1, got {epsilon}")
        is_first = self._action is None
        frames = [*self._frames, (observation, dict(info or {}))]
        if not is_first and len(frames) < self.cutter.frame_skip:
            # an environment may reuse its arrays
            self._frames = [*self._frames, (copy.deepcopy(observation), frames[-1][1])]
            return self._raw(self._action)
        seen = self.cutter.first(frames[0]) if is_first else self.cutter.following(frames, self._action)
        self._frames = []
        if self.monitor is not None:
            seen = self.monitor(seen, is_first=is_first)
        self._stacks.push(seen, is_first=self.cutter.adapter.begins)
        (self._action,) = self._stacks.act(self.dqn, epsilon)
        return self._raw(self._action)

    def wrap(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """Return ``env`` in the wrappers that the agent was trained in (``env.wrappers``, ``env.render``)."""
        return wrap(env, self.cutter.adapter.config)

    @property
    def failed(self) -> tuple[str, ...]:
        """Modalities that the monitor held to have failed at the newest decision: ``video``, ``audio``."""
        if self.monitor is None or self._action is None:
            return ()
        return tuple(name for name, is_failed in zip(NAMES, self.monitor.failed[0], strict=True) if is_failed)

    @property
    def stack(self) -> Stack:
        """What the newest decision was made on: a history of one environment."""
        return self._stacks.stack()

    @property
    def q_values(self) -> NDArray[np.float32]:
        """The values ``(A,)`` of all actions at the newest decision; of several dimensions their utilities.

        Raises:
            ValueError: if nothing is decided yet.
        """
        if self._action is None:
            raise ValueError("there are no Q-values before the first act() of an episode")
        with torch.inference_mode(), one_thread():
            values = self.dqn.network(*self.stack.to(self.dqn.device))  # (1, A)
        found: NDArray[np.float32] = values[0].float().cpu().numpy()
        return found

    def _raw(self, action: Any) -> Any:
        """Return an action as the environment takes it."""
        return self.cutter.adapter.actions.raw(action)


def load(
    run: str | Path,
    *,
    checkpoint: Which = "last",
    device: str = "auto",
    seed: int = 1_000_000,
    monitor: bool = False,
) -> TrainedAgent:
    """Return the trained agent of a run, to act in an environment of the user's own.

    Args:
        run: run directory of ``spl train agent``, or a bundle, of which no environment is made; or the
            ``hub:user/name`` of one on the Hugging Face Hub.
        checkpoint: ``last``, or ``best`` of the evaluations while it was trained.
        device: cpu, cuda, mps, or auto: cuda if available.
        seed: of what is drawn: random actions, and which of equally good ones is taken.
        monitor: take a modality that fails from the agent, which ``failed`` then names; fitted before by
            ``spl evaluate agent RUN --monitor true``.

    Raises:
        UsageError: if it is not an agent's run, has no such checkpoint that can be read, or no monitor.
    """
    run = local_folder(run)
    if is_bundle(run):
        check_which(run, checkpoint)
        bundle = read_bundle(run, pick_device(device))
        dqn, env, history, step = bundle.agent, bundle.adapter, bundle.config.memory.history, bundle.step
    else:
        dqn, make, history, step = load_agent(run, device, checkpoint)
        env = make()
    dqn.generator = generator_of(seed, "all modalities")  # as an evaluation draws
    try:
        watch = ModalityMonitor(load_usual(run, step)) if monitor else None
        return TrainedAgent(dqn, env, history=history, step=step, monitor=watch)
    finally:
        env.close()
