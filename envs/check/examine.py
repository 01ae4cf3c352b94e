"""The checks of one environment, in this process: episodes of random actions, then the first one again.

What it returned is judged in ``findings`` and ``sound``; a process that may die of it is in ``command``.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import gymnasium

from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.check.config import CheckEnvConfig, Say
from spl.envs.check.episodes import play
from spl.envs.check.failures import RAISED, EnvFailure, of_failure
from spl.envs.check.findings import Endings, Finding, Health, Moment, difference, judge_repeats, told
from spl.envs.check.sound import Skipping, SoundCheck, judge_skipping
from spl.envs.check.usage import Usage, of_left_out
from spl.envs.chosen_streams import declared_by, sample_rate_of, streams_of
from spl.envs.config import EnvConfig
from spl.envs.range_probe import measure
from spl.envs.registry import ALE, DOOM, make_raw
from spl.envs.spaces import Streams
from spl.envs.state import told_state
from spl.envs.value_ranges import range_of

STAND_IN_HZ = 16_000  # where a rate is not declared: no shape depends on it
ALE_FRAME_RATE_HZ = 60.0  # its own render_fps says 30
SKIPS = ("frameskip", "frame_skip")  # how environments call the frames of a step
KEPT_BYTES, NUM_KEPT = 64 * 2**20, 200  # of the first observations, to compare with when played again
BOOKKEEPING_BYTES = 23  # of the replay memory per observation: action, reward, flags, age, checksums
MIN_SLACK, SLACK_SHARE = 64, 25  # the memory has a 25th of room beyond its capacity, 64 at the least
FIXED: dict[str | tuple[str, ...], str] = {  # by our own wrappers, of what is shipped
    ALE: "sound lost to its own frame skip, and a step in its first sound; --raw true examines it so",
    DOOM: "a crash in its sound effects, a blank last picture, both end flags; --raw true examines it so",
}

Make = Callable[..., gymnasium.Env[Any, Any]]


def examine(config: CheckEnvConfig, say: Say = lambda doing: None) -> Iterator[Finding]:
    """Yield what is found; ``say`` gets what is about to be done, before it is done.

    Raises:
        UsageError: if the environment is unknown or cannot be made, or its streams or actions do not serve.
    """
    try:
        yield from _examine(config, say)
    except EnvFailure as failure:
        yield of_failure(str(failure), failure.__cause__)


def fingerprint(config: CheckEnvConfig, say: Say = lambda doing: None) -> Iterator[Finding]:
    """Yield one note: a digest of the first observations, to compare with that of another process."""
    adapted, _ = _adapt(config, _maker(config, say), say)
    digest = hashlib.sha256()
    for moment in islice(play(adapted.env, adapted, config, say), NUM_KEPT):
        digest.update(repr((moment.step, moment.reward, moment.terminated, moment.truncated)).encode())
        for part in moment.parts.values():
            digest.update(b"" if part is None else part.tobytes())
    adapted.env.close()
    yield Finding("seed", "note", digest.hexdigest())


def _examine(config: CheckEnvConfig, say: Say) -> Iterator[Finding]:
    make = _maker(config, say)
    adapted, open_ones = _adapt(config, make, say)
    rate = [found for found in open_ones if found.name == "rate"]
    yield Finding("actions", "ok", adapted.actions.told())
    yield from _of_streams(adapted, is_declared=not rate)
    yield from open_ones
    if adapted.streams.audio is not None:
        rate_hz = None if rate else adapted.sample_rate_hz
        yield _of_skipping(adapted.env, adapted.streams.audio.num_samples, rate_hz, config.options, make)
    yield from _of_episodes(adapted, config, say, make)
    yield _of_memory(adapted, config.memory.capacity)
    if not config.raw:
        fixed = (what for family, what in FIXED.items() if config.env.id.startswith(family))
        yield from (Finding("fixed", "ok", what) for what in fixed)


def _maker(config: CheckEnvConfig, say: Say) -> Make:
    """Return what makes the environment again, with some arguments changed."""
    options = config.options

    def make(where: str, **changes: Any) -> gymnasium.Env[Any, Any]:
        say(where)
        try:
            return make_raw(replace(options, kwargs=options.kwargs | changes), is_fixed=not config.raw)
        except UsageError:
            raise
        except RAISED as error:  # an author's constructor may fail in any way; the finding names it
            raise EnvFailure(where) from error

    return make


def _adapt(config: CheckEnvConfig, make: Make, say: Say) -> tuple[AudioVisualEnv, list[Finding]]:
    """Return the adapted environment, a fault where its sound has no rate, and what was assumed."""
    options, env, rate = config.options, make("making it"), []
    try:
        if streams_of(env, options).audio is not None:
            try:
                sample_rate_of(env, options)
            except ValueError as error:
                rate = [Finding("rate", "fault", *str(error).split("; ", 1))]
                options = replace(options, sample_rate_hz=STAND_IN_HZ)
        say("looking at what its spaces leave open")
        found, details = measure(env, options)
        notes = [Finding("assumed", "note", sentence) for sentence in details]
        return AudioVisualEnv(env, replace(options, **found)), [*rate, *notes]
    except ValueError as error:
        raise UsageError(str(error)) from error


def _of_streams(adapted: AudioVisualEnv, *, is_declared: bool) -> Iterator[Finding]:
    """Yield each stream's key, shape and rate, and what it becomes."""
    chosen = adapted.describe()
    if "wrappers" in chosen:
        yield Finding("wrappers", "ok", ", ".join(chosen["wrappers"]))
    for name, modality, stream in (
        ("picture", "video", adapted.streams.video),
        ("sound", "audio", adapted.streams.audio),
    ):
        if stream is None:
            yield Finding(name, "ok", "none")
            continue
        key, becomes = chosen[modality]["key"], " x ".join(map(str, chosen[modality]["to"]))
        what = told(stream.box) if key is None else f"{key!r}, {told(stream.box)}"
        what += f" ({made})" if (made := stream.form.told()) else ""
        if modality == "audio" and is_declared and adapted.sample_rate_hz is not None:
            rate_hz = adapted.sample_rate_hz
            num_samples = chosen[modality]["samples_per_step"] // adapted.frame_skip
            joined = f"{adapted.frame_skip} x " if adapted.frame_skip > 1 else ""
            what += f", {rate_hz:,} Hz ({joined}{1_000 * num_samples / rate_hz:.4g} ms)"
        yield Finding(name, "ok", f"{what} -> {becomes}")
    if (state := told_state(chosen)) is not None:
        yield Finding("state", "ok", state)
    yield from of_left_out(adapted.streams.left_out)


def _of_skipping(
    env: gymnasium.Env[Any, Any], num_samples: int, rate_hz: int | None, options: EnvConfig, make: Make
) -> Finding:
    """Return whether the environment's own frame skip loses sound, compared with itself made without."""
    arguments = options.kwargs if env.spec is None else env.spec.kwargs | options.kwargs
    skips = {name: arguments.get(name, declared_by(env, name)) for name in SKIPS}
    name, skip = next(((name, skip) for name, skip in skips.items() if skip is not None), ("", None))
    skip = min(skip) if isinstance(skip, tuple | list) else skip  # drawn again at each step
    num_unskipped = None
    if skip is not None and skip > 1:
        with contextlib.suppress(UsageError, EnvFailure):  # it may not take the argument
            unskipped = make("making it without frame skip", **{name: 1})
            sound = streams_of(unskipped, options).audio
            num_unskipped = None if sound is None else sound.num_samples
            unskipped.close()
    is_ale = type(env.unwrapped).__module__.startswith("ale_py")
    frame_rate_hz = ALE_FRAME_RATE_HZ if is_ale else (env.metadata or {}).get("render_fps")
    return judge_skipping(Skipping(num_samples, num_unskipped, rate_hz, frame_rate_hz, skip, name))


class _Chart:
    """What is seen and heard of an environment over its episodes."""

    def __init__(self, env: gymnasium.Env[Any, Any], streams: Streams, options: EnvConfig) -> None:
        chosen = {"picture": streams.video, "sound": streams.audio}
        found = {name: one for name, one in chosen.items() if one is not None}
        boxes = {name: one.box for name, one in found.items()}
        picked = {"picture": options.video_range, "sound": options.audio_range}
        modalities = {"picture": "video", "sound": "audio"}
        ranges = {name: range_of(box, modalities[name], picked[name]) for name, box in boxes.items()}
        self.health = Health(found)
        self.usages = {name: Usage(name, box, ranges[name]) for name, box in boxes.items()}
        self.endings = Endings(None if env.spec is None else env.spec.max_episode_steps)
        self.sound_check = None
        rest = declared_by(env, "sound_rest_level") if options.rest_level is None else options.rest_level
        if streams.audio is not None:
            num_samples = streams.audio.num_samples
            self.sound_check = SoundCheck(streams.audio.box, rest, ranges["sound"], num_samples=num_samples)

    def look(self, moment: Moment) -> None:
        healthy = self.health.look(moment)
        self.endings.look(moment)
        for name in healthy:
            array = moment.parts[name]
            assert array is not None
            if array.size:
                self.usages[name].look(array, moment.where)
        heard = moment.parts.get("sound")
        if self.sound_check is not None and heard is not None and "sound" in healthy:
            self.sound_check.add(heard)

    def findings(self) -> Iterator[Finding]:
        if self.sound_check is not None:
            yield from self.sound_check.findings()
        yield from self.health.findings()
        for usage in self.usages.values():
            yield from usage.findings()
        yield from self.endings.findings()


def _of_episodes(adapted: AudioVisualEnv, config: CheckEnvConfig, say: Say, make: Make) -> Iterator[Finding]:
    """Yield what episodes of chance actions show, and whether they repeat."""
    chart = _Chart(adapted.env, adapted.streams, adapted.config)
    kept: list[Moment] = []
    failure = None
    try:
        for moment in play(adapted.env, adapted, config, say):
            chart.look(moment)
            if _has_room(kept):
                kept.append(moment)
    except EnvFailure as error:
        failure = error
    yield from chart.findings()
    if failure is not None:
        raise failure
    same = difference(kept, list(islice(play(adapted.env, adapted, config, say), len(kept))))
    say("closing it")
    adapted.env.close()
    fresh_env = make("making it a second time")
    fresh = difference(kept, list(islice(play(fresh_env, adapted, config, say), len(kept))))
    fresh_env.close()
    yield judge_repeats(same, fresh, len(kept))


def _has_room(kept: list[Moment]) -> bool:
    """Whether one more moment may be kept."""
    size = sum(part.nbytes for moment in kept[:1] for part in moment.parts.values() if part is not None)
    return len(kept) < 2 or (len(kept) < NUM_KEPT and len(kept) * size < KEPT_BYTES)


def _of_memory(adapted: AudioVisualEnv, capacity: int) -> Finding:
    """Return what a transition takes in the replay memory, where each observation is stored once."""
    size = adapted.spec_of_streams.nbytes + BOOKKEEPING_BYTES + 2 * (len(adapted.action_sizes) - 1)
    mebibytes = size * (capacity + max(MIN_SLACK, capacity // SLACK_SHARE)) / 2**20
    what = f"{size:,} bytes a transition; a memory of {capacity:,} takes {mebibytes:,.0f} MiB of RAM"
    return Finding("memory", "ok", what)
