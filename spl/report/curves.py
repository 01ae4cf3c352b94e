"""Learning curves: runs that differ only in their seed become one line with a band, others stay separate."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.config import parse as configuration
from spl.config.options import dotted
from spl.report.blocks import Block, Chart, Folded, Legend, Size
from spl.report.charts import BROAD, Curve, draw_curves
from spl.report.read_run import Kind, Run, Series

MOST_POINTS = 300  # of a line; more are averaged
MOST_SHOWN = 3  # options in a label
PART = ("seed-", "restart-")  # begins the name of a run inside another


class Plan(NamedTuple):
    """A chart that a kind of run has."""

    title: str
    tags: tuple[str, ...]  # the first is drawn solid, the second dashed, the third dotted
    note: str = ""


MODALITIES = "from both; dashed: video alone; dotted: audio alone"
PLANS = {
    "agent": (
        Plan("Return", ("rollout/ep_rew_mean",), "mean over the last episodes of training"),
        Plan(
            "Return while it was evaluated",
            ("eval/mean_reward", "eval/mean_reward_video", "eval/mean_reward_audio"),
            "greedy; dashed: video alone; dotted: audio alone",
        ),
        Plan("Loss", ("train/loss",)),
        Plan("Episode length", ("rollout/ep_len_mean",), "steps, mean over the last episodes"),
    ),
    "classifier": (
        Plan("Accuracy", ("test/top1", "train/top1"), "held-out images; dashed: those learned from"),
        Plan("Loss", ("test/loss", "train/loss"), "held-out images; dashed: those learned from"),
    ),
    "autoencoder": (
        Plan("Loss", ("train/loss",)),
        Plan(
            "Error of the video",
            ("train/video_from_both", "train/video_from_video", "train/video_from_audio"),
            MODALITIES,
        ),
        Plan(
            "Error of the audio",
            ("train/audio_from_both", "train/audio_from_video", "train/audio_from_audio"),
            MODALITIES,
        ),
    ),
}


class Group(NamedTuple):
    """Runs of one kind that differ only in their seed."""

    label: str
    runs: list[Run]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Return the runs of one kind by what they learned; a label tells the options in which groups differ."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(repr(_learned(run)), []).append(run)
    options = [_learned(members[0]) for members in found.values()]
    names = sorted({name for one in options for name in one})
    varied = [name for name in names if len({repr(one.get(name)) for one in options}) > 1]
    return [
        Group(_label(one, varied, members), members)
        for one, members in zip(options, found.values(), strict=True)
    ]


def _learned(run: Run) -> dict[str, object]:
    """Return the options on which depends what is learned, but the seed."""
    flat = dotted(configuration.to_dict(run.config))
    return {name: value for name, value in flat if name != "seed" and name not in run.kind.may_change}


def _label(options: dict[str, object], varied: list[str], members: list[Run]) -> str:
    if not varied and len(members) > 1:
        return f"seeds {', '.join(str(run.config.seed) for run in members)}"
    if not varied or len(varied) > MOST_SHOWN:
        return _whole(members[0])
    words = {name: name.removesuffix(".name").rpartition(".")[2] for name in varied}
    return ", ".join(f"{word} {options.get(name)}" for name, word in words.items())


def _whole(run: Run) -> str:
    """Return the name of the run that a run is a part of: ``NAME``, or ``NAME, VARIANT`` in a grid."""
    place = run.folder.resolve()
    while place.name.startswith(PART):
        place = place.parent
    return f"{place.parents[1].name}, {place.name}" if place.parent.name == "cells" else place.name


def curve_blocks(kind: Kind, groups: Sequence[Group]) -> list[Block]:
    """Return the charts of one kind of run: those that matter, and all others folded away.

    A figure with one value in every run is no curve; without any curve there are no blocks.
    """
    series = [[run.series() for run in group.runs] for group in groups]
    clock = groups[0].runs[0].clock
    tags = {tag: None for group in series for one in group for tag, line in one.items() if len(line.xs) > 1}
    if not tags:
        return []
    plans = [plan for plan in PLANS.get(kind.name, ()) if any(tag in tags for tag in plan.tags)]
    shown = {tag for plan in plans for tag in plan.tags}
    others = [Plan(tag, (tag,)) for tag in tags if tag not in shown]
    blocks = legend(groups)
    is_odd = len(plans) % 2 == 1  # then the first is as wide as the text, and the others stand in pairs
    blocks += [
        _chart(plan, series, clock, "wide" if is_odd and number == 0 else "half")
        for number, plan in enumerate(plans)
    ]
    if others:
        rest: list[Block] = [_chart(plan, series, clock) for plan in others]
        blocks.append(Folded(f"All other figures ({len(rest)})", rest))
    return blocks


def legend(groups: Sequence[Group]) -> list[Block]:
    """Return which colour is which group's, where there are several."""
    labels = [
        group.label if len(group.runs) == 1 else f"{group.label} ({len(group.runs)} seeds)"
        for group in groups
    ]
    return [Legend(labels)] if len(groups) > 1 else []


def _chart(
    plan: Plan, series: Sequence[Sequence[dict[str, Series]]], clock: str, size: Size = "third"
) -> Chart:
    curves = [
        curve
        for color, group in enumerate(series)
        for dash, tag in enumerate(plan.tags)
        if (curve := join([one[tag] for one in group if tag in one], color, dash)) is not None
    ]
    svg = draw_curves(plan.title, clock, curves)
    broad = draw_curves(plan.title, clock, curves, size=BROAD) if size == "wide" else None
    return Chart(plan.title, svg, plan.note, size, broad)


def join(many: Iterable[Series], color: int, dash: int) -> Curve | None:
    """Return the mean of several runs and their spread over the stretch that all have; None without any.

    Runs whose figures do not lie at the same steps are read off between them.
    """
    found = [thinned(np.array(one.xs), np.array(one.ys)) for one in many]
    if not found:
        return None
    first = max(xs[0] for xs, _ in found)
    last = min(xs[-1] for xs, _ in found)
    xs = found[0][0]
    xs = xs[(xs >= first) & (xs <= last)]
    if not len(xs):
        xs = np.array([last])
    ys = np.stack([np.interp(xs, *one) for one in found]) if len(found) > 1 else found[0][1][None]
    return Curve(color, dash, xs, ys.mean(axis=0), ys.min(axis=0), ys.max(axis=0))


def thinned(
    xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most ``MOST_POINTS`` places and values: means of neighbours where there are more."""
    if len(xs) <= MOST_POINTS:
        return xs, ys
    edges = np.linspace(0, len(xs), MOST_POINTS + 1).astype(int)[:-1]
    sizes = np.diff([*edges, len(xs)])
    return np.add.reduceat(xs, edges) / sizes, np.add.reduceat(ys, edges) / sizes
