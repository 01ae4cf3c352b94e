"""``spl watch``: an agent at play in a live window, with sound, or a human, whose play is recorded."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from spl.agents.config import kept_run
from spl.agents.evaluation.choice import played_moments
from spl.agents.evaluation.decision import Reason, reason_of
from spl.agents.evaluation.rollout import AGAIN, Player, Shot
from spl.agents.film.config import FilmConfig
from spl.agents.film.controls import Controls
from spl.agents.film.frame import BACKGROUND, FAINT, INK, MARGIN, SMALL, say
from spl.agents.film.reel import Reel
from spl.agents.film.window import Speaker, Window, wait_until
from spl.agents.history import Stack
from spl.agents.load import Which, env_config_of, load_agent
from spl.agents.names import ActionNames
from spl.agents.record import HandRecording
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Positive, Scale, Seed
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.config import EnvConfig
from spl.envs.filmed import Camera, make_filmed
from spl.envs.range_probe import measured
from spl.envs.registry import may_crash
from spl.processes.signals import StopSignals
from spl.records import Action
from spl.runs.logger import say as tell

BAR = 48  # rows below the picture, for what is set and which keys there are
ENDLESS = 10**9  # episodes
LATE_S = 0.25  # that the picture may lag before the pace gives way


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """Who plays, how fast, and what is shown."""

    human: bool = False  # play yourself; the session is recorded
    env: EnvConfig = field(default_factory=EnvConfig)  # with human, where no run is given
    num_episodes: Count | None = None  # at most; null: until the window is closed
    speed: Positive = 1.0  # times the environment's own pace
    overlay: bool = True  # saliency maps over video and audio
    scale: Scale | None = None  # factor by which frames are enlarged; null: to about 400 rows
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training
    trust: bool = False  # import the classes that a bundle names
    seed: Seed = 1_000_000  # of the first episode; differs from those of training
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    out: PathName = "recordings/human"  # folder of a human's recording
    num_steps: Count = 20_000  # most steps of a human's recording

    def __post_init__(self) -> None:
        check_fields(self)


class Live(Reel):
    """Draws shots for a window: what is set and which keys there are stand below them."""

    def __init__(self, env: AudioVisualEnv, camera: Camera, config: WatchConfig, controls: Controls) -> None:
        filmed = FilmConfig(overlay=config.overlay, scale=config.scale, seed=config.seed)
        super().__init__(env, camera, filmed, StopSignals())
        self.controls = controls
        self.own_action: Action | None = None  # of a human, the last

    def action_of(self, reason: Reason | None) -> Action | None:
        """Return the action that is shown."""
        return self.own_action if self.controls.is_human else super().action_of(reason)

    def line(self, shot: Shot, now_s: float) -> str:
        """Return what stands below the title."""
        return f"episode {shot.episode + 1} · {now_s:.1f} s"

    def page(self, shot: Shot, number: int) -> NDArray[np.uint8]:
        """Return the picture of frame ``number`` of a shot, with the bar."""
        drawn = self.draw(shot, shot.moments[number], (number + 1) / len(shot.moments))
        bar = np.full((BAR, drawn.shape[1], 3), BACKGROUND, np.uint8)
        say(bar, self.controls.told(), 2, MARGIN, size=SMALL, colour=INK)
        say(bar, self.controls.help(), 22, MARGIN, size=SMALL, colour=FAINT)
        return np.concatenate([drawn, bar])


class Show:
    """Plays what a player does in a window, at the pace of the environment.

    Args:
        player: whose shots are shown.
        reel: draws them.
        controls: what the keys have set.
        window: shows them.
        speaker: plays their sound, if there is one.
        stop: whether to end all the same.
    """

    def __init__(
        self,
        player: Player,
        reel: Live,
        controls: Controls,
        window: Window,
        speaker: Speaker | None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.player, self.reel, self.controls = player, reel, controls
        self.window, self.speaker, self.stop = window, speaker, stop
        self.num_steps = 0
        self._frame_s = float(1 / reel.frame_rate_hz)
        self._due_s = time.monotonic()
        self._told = ""  # in the page that is shown

    def run(self, num_episodes: int) -> None:
        """Show episodes until there are enough, or the window is closed."""
        shots, sent = self.player.shots(num_episodes), None
        with suppress(StopIteration):
            while not self._is_over():
                shot = shots.send(sent)
                self._show(shot)
                sent = None if shot.reason is None else self._next(shot, shots.send)
                self.num_steps += shot.reason is not None and not self._is_over()
        shots.close()

    def _is_over(self) -> bool:
        return self.controls.is_closed or self.stop()

    def _show(self, shot: Shot) -> None:
        """Show the frames of a shot, each as long as its sound lasts."""
        self.reel.take_in(shot)
        for number, moment in enumerate(shot.moments):
            self.reel.count(moment)
            if moment.sound is not None and self.speaker is not None:
                self.speaker.play(moment.sound, self.controls.speed)
            now_s = time.monotonic()
            self._due_s = max(self._due_s + self._frame_s / self.controls.speed, now_s - LATE_S)
            if now_s <= self._due_s or number == len(shot.moments) - 1:  # else there is no time to draw it
                self._draw(shot, number)
            while time.monotonic() < self._due_s and not self._is_over():
                self._take_keys()
                wait_until(self._due_s)
        self._take_keys()

    def _next(self, shot: Shot, send: Callable[[Action | None], Shot]) -> int | None:
        """Wait until the next step is due; return a human's action, None for the agent's own."""
        while not self._is_over():
            if self.player.absent != tuple(sorted(self.controls.absent)):
                shot = self._decide_again(shot, send)
            elif self.controls.told() != self._told:
                self._draw(shot, len(shot.moments) - 1)
            action = self.controls.action() if self.controls.is_human else None
            if (action is not None or not self.controls.is_human) and self.controls.takes_step():
                self.reel.own_action = action
                return action
            self._take_keys()
            self._due_s = time.monotonic()
            wait_until(self._due_s + 1.0)
        return None

    def _decide_again(self, shot: Shot, send: Callable[[Action | None], Shot]) -> Shot:
        """Let the agent decide once more, with what is left to it, and show that."""
        self.player.absent = tuple(sorted(self.controls.absent))
        again = send(AGAIN)._replace(moments=shot.moments)
        self._draw(again, len(again.moments) - 1)
        return again

    def _draw(self, shot: Shot, number: int) -> None:
        self.window.show(self.reel.page(shot, number))
        self._told = self.controls.told()

    def _take_keys(self) -> None:
        was_paused = self.controls.is_paused
        for key, is_pressed in self.window.key_events():
            (self.controls.press if is_pressed else self.controls.release)(key)
        if self.speaker is not None and self.controls.is_paused and not was_paused:
            self.speaker.stop()


def watch(run: Path | None, config: WatchConfig, *, console: Console | None = None) -> dict[str, Any]:
    """Show the run's agent at play, or let a human play in its environment or in that of ``config``.

    Returns:
        The episodes' ``returns`` as far as they were played, the ``steps`` and, of a human, the
        ``recording``, None where nothing was played.

    Raises:
        UsageError: if there is no such run, no display, or nowhere to record.
    """
    console = Console(stderr=True) if console is None else console
    if run is None and not config.human:
        raise UsageError("give the run directory: spl watch runs/agent/...; or --human to play yourself")
    window = Window(f"spl watch · {config.env.id if run is None else run}")  # first: without, all is in vain
    recording, env, speaker, show = None, None, None, None
    try:
        env, player, camera = _player_of(run, config, console)
        controls = Controls(ActionNames(env).labels, config.human, config.speed)
        if config.human:
            if (number := len(env.action_sizes)) > 1:
                raise UsageError(f"the keys are for one dimension of actions, {env.config.id} has {number}")
            folder = Path(config.out)
            recording = HandRecording(folder, env, config.num_steps)
            player.keep = recording
        speaker = _speaker_of(camera, console)
        with StopSignals() as stop:
            show = Show(player, Live(env, camera, config, controls), controls, window, speaker, stop.has_come)
            show.run(ENDLESS if config.num_episodes is None else config.num_episodes)
    finally:
        for one in (speaker, window, env):
            if one is not None:
                one.close()
        if recording is not None:
            recording.save(actor="human", seed=config.seed)
    kept = None if recording is None or not recording.step else recording.folder
    return {"returns": show.reel.returns, "steps": show.num_steps, "recording": kept}


def _player_of(
    run: Path | None, config: WatchConfig, console: Console
) -> tuple[AudioVisualEnv, Player, Camera]:
    """Return the environment, who plays in it, and the camera in it."""
    if run is None:
        found, assumed = measured(config.env, is_apart=may_crash(config.env.id))
        for sentence in assumed:
            tell(console, f"assumed    {sentence}")
    elif config.human:
        if config.env != EnvConfig():
            raise UsageError(f"{run} brings its own environment: leave the env options out")
        found = kept_run(run)[1].env
    if run is None or config.human:
        env, camera = make_filmed(found)
        player = Player(_decided_by_hand, env, camera, history=1, seed=config.seed)
    else:
        agent, make, history, _ = load_agent(run, config.device, config.checkpoint, trusts=config.trust)
        moments = played_moments(agent, make, history, config.seed + 1)

        def decide(stack: Stack, step: int) -> Reason:
            return reason_of(agent, stack, moments, with_maps=config.overlay)

        env, camera = make_filmed(env_config_of(run))
        player = Player(decide, env, camera, history=history, seed=config.seed)
    for sentence in describe_left_out(env.describe()):
        tell(console, f"left out   {sentence}")
    return env, player, camera


def _decided_by_hand(stack: Stack, step: int) -> Reason:
    """Return a decision that the keys take the place of."""
    return Reason(0, np.zeros(0, np.float32), None)


def _speaker_of(camera: Camera, console: Console) -> Speaker | None:
    """Return what plays the sound, None where there is none or no device, which is told."""
    if camera.sample_rate_hz is None:
        tell(console, "note: the environment has no audio: there is nothing to hear")
        return None
    try:
        return Speaker(camera.sample_rate_hz)
    except OSError as error:
        tell(console, f"note: there is no sound device ({error}): it goes on without sound")
        return None
