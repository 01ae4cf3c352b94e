"""Probing an environment with random actions for the ranges and layouts that its space leaves open.

An option that is found so is set, so that the run says it in ``config.yaml`` and later environments agree.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from spl.config.errors import RunError, UsageError
from spl.envs.actions import ActionForm
from spl.envs.api_checks import RAISED, AnswerError, put_away
from spl.envs.chosen_streams import doubts_of, streams_of
from spl.envs.config import EnvConfig
from spl.envs.layouts import PictureForm
from spl.envs.registry import make_raw, settle
from spl.envs.resumable import told as describe_error
from spl.envs.space_entries import Stream
from spl.envs.value_ranges import Range, assumed
from spl.envs.workers import PARTING_S, cause_of_death
from spl.processes.signals import serve_above

NUM_STEPS = 100  # at random, after a reset with seed 0
MOST_S = 300.0  # that a process of its own may take, its start included
MIN_PAIRS = 3  # of neighbouring observations that must show a stack moving on


Measured = tuple[EnvConfig, list[str]]  # options, and a sentence for each that was found


def measured(config: EnvConfig, *, is_apart: bool) -> Measured:
    """Return the options with what the environment's space leaves open, and a sentence for each.

    Args:
        config: of the environment.
        is_apart: what steps it is a process of its own, which may then die.

    Raises:
        UsageError: if the environment is unknown or cannot be made, or its streams do not serve.
        RunError: if its process dies, or takes longer than ``MOST_S``.
    """
    options = settle(config)
    try:
        env = make_raw(options)
    except AnswerError as error:
        raise UsageError(f"{config.id}: {error}") from error
    try:
        if not doubts_of(env, options):
            return config, []
        if not is_apart:
            found, told = measure(env, options)
            return replace(config, **found), told
    except ValueError as error:
        raise UsageError(f"{config.id}: {error}") from error
    finally:
        put_away(env)
    return _measured_apart(config)


def _measured_apart(config: EnvConfig) -> Measured:
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(config, writer))
    child.start()
    writer.close()
    try:
        is_late = not wait(
            [reader, child.sentinel], MOST_S
        )  # an engine may hold the pipe open after the child's death
        answer: Measured | Exception | None = reader.recv() if reader.poll() else None
    except (EOFError, ConnectionError):
        answer = None
    finally:
        child.join(PARTING_S)
        child.kill()
        child.join()
        reader.close()
    if answer is None:
        died = f"ended its process ({cause_of_death(child.exitcode)})"
        raise RunError(
            f"{config.id} {f'took longer than {MOST_S:g} s' if is_late else died} while the ranges that its "
            f"observation space leaves open were measured: 'spl check env {config.id}' shows where; "
            "what is given, such as --env.video_range LOW,HIGH, is not measured"
        )
    if isinstance(answer, Exception):
        raise answer
    return answer


def _work(config: EnvConfig, writer: Connection) -> None:
    """Measure, in the child; send what was found, or why nothing was."""
    serve_above()
    try:
        writer.send(measured(config, is_apart=False))
    except UsageError as error:
        writer.send(error)
    except RAISED as error:
        writer.send(RunError(f"{config.id}: {describe_error(error)}"))


def measure(env: gymnasium.Env[Any, Any], config: EnvConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the options that ``env`` leaves open, and a sentence for each; none where it leaves none open.

    An environment that raises is looked at as far as it came: whoever steps it next says so.
    """
    doubts = doubts_of(env, config)
    if not doubts:
        return {}, []
    streams = streams_of(env, config)
    chosen = [stream for stream in streams[:2] if stream is not None]
    episodes: list[list[list[NDArray[Any]]]] = []
    with suppress(Exception, SystemExit):  # whatever an author's environment raises
        for raw, info, is_first in _watch(env, ActionForm(env.action_space, config.bins)):
            parts = [stream.part(raw, info) for stream in chosen]
            if all(stream.fits(part) for part, stream in zip(parts, chosen, strict=True)):
                episodes += [[]] if is_first else []
                episodes[-1].append(parts)
    found: dict[str, Any] = {}
    told: list[str] = []
    for number, stream in enumerate(chosen):
        seen = [[parts[number] for parts in episode] for episode in episodes]
        layout, range_ = f"{stream.modality}_layout", f"{stream.modality}_range"
        if any(seen) and layout in doubts:
            found[layout] = _layout(stream, seen)
            told += _describe_layout(stream, found[layout])
        if range_ in doubts and (went := _span(seen)) is not None:
            found[range_] = tuple(assumed(stream.box, stream.modality, *went))
            told.append(
                f"{range_} {Range(*found[range_])}: the bounds of its space are uninformative, and "
                f"{sum(map(len, seen)):,} observations went from {went} (--env.{range_} LOW,HIGH overrides)"
            )
    return found, told


def _describe_layout(stream: Stream, layout: str) -> list[str]:
    if layout == stream.form.layout:
        return []
    name = f"{stream.modality}_layout"
    return [f"{name} {layout}, by its values, not {stream.form.layout} (--env.{name} overrules)"]


def _watch(env: gymnasium.Env[Any, Any], form: ActionForm) -> Iterator[tuple[Any, dict[str, Any], bool]]:
    """Yield what is observed at random, and whether an episode begins with it."""
    generator = np.random.default_rng(0)
    yield *env.reset(seed=0), True
    for step in range(1, NUM_STEPS + 1):
        action = form.raw(generator.integers(form.sizes))
        raw, _, terminated, truncated, info = env.step(action)
        yield raw, info, False
        if terminated or truncated:
            yield *env.reset(seed=step), True


def _span(episodes: list[list[NDArray[Any]]]) -> Range | None:
    """Return the least and the greatest finite value, None where there is none."""
    finite = [part[np.isfinite(part)] for episode in episodes for part in episode]
    finite = [values for values in finite if values.size]
    if not finite:
        return None
    return Range(min(float(values.min()) for values in finite), max(float(values.max()) for values in finite))


def _layout(stream: Stream, episodes: list[list[NDArray[Any]]]) -> str:
    """Return the layout, changed where an axis moves on as a stack does, or its last plane is an alpha."""
    layout, form = stream.form.layout, stream.form
    axis = next(axis for axis, letter in enumerate(layout) if letter in "CAS" and form.shape[axis] > 1)

    def renamed(letter: str) -> str:
        return layout[:axis] + letter + layout[axis + 1 :]

    if _is_stack(episodes, axis):
        return renamed("S")
    planes = [np.moveaxis(part, axis, 0) for episode in episodes for part in episode]
    could_be_alpha = layout[axis] == "S" and isinstance(form, PictureForm) and form.shape[axis] in (2, 4)
    if could_be_alpha and not set("CA") & set(renamed("")):
        highest = max(plane.max() for plane in planes)
        if (
            highest > 0
            and all((plane[-1] == highest).all() for plane in planes)
            and any((plane[0] != highest).any() for plane in planes)
        ):
            return renamed("A")
    return layout


def _is_stack(episodes: list[list[NDArray[Any]]], axis: int) -> bool:
    """Whether each observation holds the one before it, moved by one along ``axis``."""
    num_moved = 0
    for episode in episodes:
        for before, after in pairwise(episode):
            before, after = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
            if not np.array_equal(before[1:], after[:-1]):
                return False
            num_moved += not np.array_equal(after[-1], after[0])
    return num_moved >= MIN_PAIRS
