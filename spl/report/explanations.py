"""Tables of what ``spl explain`` measured: maps over images, and the contributions of modalities."""

from statistics import fmean
from typing import Any

from spl.report.blocks import Block, Table, Words
from spl.report.read_run import Run
from spl.report.results import read_with


def explained_blocks(run: Run) -> list[Block]:
    """Return the tables of what lies in ``explanation/``, none where nothing was explained.

    Raises:
        UsageError: if a file of it cannot be read.
    """
    return read_with(_maps, run) + read_with(_episodes, run) + read_with(_errors, run)


def _maps(run: Run) -> list[Block]:
    result = run.document("explanation/measures")
    rows = [
        [
            one["run"],
            one["method"],
            f"{one['average_drop']:.1f} %",
            f"{one['average_increase']:.1f} %",
            "-" if one["win_rate"] is None else f"{one['win_rate']:.1f} %",
            f"{one['insertion']:.3f}",
            f"{one['deletion']:.3f}",
        ]
        for one in result.get("measures", [])
    ]
    columns = ["run", "method", "average drop", "average increase", "win", "insertion", "deletion"]
    return [Table("Maps of held-out images", columns, rows), Words(result["notes"])] if rows else []


def _episodes(run: Run) -> list[Block]:
    result = run.document("explanation/explanation")
    rows = [
        [
            f"{number}",
            f"{one['return']:g}",
            f"{one['steps']:,}",
            f"{one['share_of_video']:.0%}",
            f"{one['share_of_audio']:.0%}",
            *([f"{one['share_of_state']:.0%}"] if "share_of_state" in one else []),
            f"{one['average_drop']:.1f} %",
            f"{one['average_increase']:.1f} %",
        ]
        for number, one in enumerate(map(_renamed, result.get("episodes", [])), start=1)
    ]
    if not rows:
        return []
    state = ["state"] if "share_of_state" in result["episodes"][0] else []
    columns = ["episode", "return", "steps", "video", "audio", *state, "average drop", "average increase"]
    note = (
        f"At step {result['step']:,}. {', '.join(['Video', 'audio', *state])}: shares of the "
        f"{result['score']} of the chosen action, exact Shapley values. Average drop, increase: of its "
        f"{result['confidence']}, with both streams multiplied by their {result['method']} maps."
    )
    return [Table("What it acted on", columns, rows, note), *_decisions(result["episodes"])]


def _decisions(episodes: list[dict[str, Any]]) -> list[Block]:
    """Return the sentences of the drawn steps; runs explained before have none."""
    rows = [
        [f"{number}", f"{step}", one["sentences"][step]]
        for number, one in enumerate(episodes, start=1)
        for step in one.get("drawn", [])
    ]
    if not rows:
        return []
    note = (
        "A share tells how often the agent would choose another action if that modality came from another, "
        "similar moment of the episode. A place is where most of the evidence for the action lies, by "
        "integrated gradients. explanation/episode-N.txt has a sentence for every step."
    )
    return [Table("Decisions in words", ["episode", "step", "decision"], rows, note, is_prose=True)]


def _renamed(episode: dict[str, Any]) -> dict[str, Any]:
    """Return an episode's measures with the names of today; runs explained before had ``share_of_sight``."""
    old = {"share_of_sight": "share_of_video", "share_of_hearing": "share_of_audio"}
    return {old.get(name, name): value for name, value in episode.items()}


def _errors(run: Run) -> list[Block]:
    result = run.document("explanation/explanation")
    parts = ("mean_squared_error", "added_by_video", "added_by_audio")
    rows = [
        [modality, *(_mean(told[part]) for part in parts)]
        for modality, told in result.get("errors", {}).items()
    ]
    if not rows:
        return []
    note = (
        f"Mean squared errors of the {len(result['samples'])} samples ({result['data']}) that have the "
        "modality, and what showing the video and the audio adds to them, as exact Shapley values: one below "
        "0 reduces the error."
    )
    return [Table("Where its errors come from", ["error of", "mean", "video adds", "audio adds"], rows, note)]


def _mean(values: list[float | None]) -> str:
    """Return the mean over the samples that have the modality, a dash where none has."""
    known = [value for value in values if value is not None]
    return f"{fmean(known):z.5f}" if known else "-"
