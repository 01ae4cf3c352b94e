"""What ``spl explain`` measured of a run, as tables: maps over images, and what each sense did."""

from statistics import fmean

from spl.page.blocks import Block, Table, Words
from spl.page.folders import Run
from spl.page.results import read_with


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
            f"{one['share_of_sight']:.0%}",
            f"{one['share_of_hearing']:.0%}",
            f"{one['average_drop']:.1f} %",
            f"{one['average_increase']:.1f} %",
        ]
        for number, one in enumerate(result.get("episodes", []), start=1)
    ]
    if not rows:
        return []
    columns = ["episode", "return", "steps", "sight", "hearing", "average drop", "average increase"]
    note = (
        f"At step {result['step']:,}. Sight, hearing: shares of the {result['score']} of the chosen action, "
        f"exact Shapley values. Average drop, increase: of its {result['confidence']}, with both senses "
        f"through their {result['method']} maps."
    )
    return [Table("What it acted on", columns, rows, note)]


def _errors(run: Run) -> list[Block]:
    result = run.document("explanation/explanation")
    parts = ("mean_squared_error", "added_by_video", "added_by_audio")
    rows = [
        [{"video": "picture", "audio": "sound"}[sense], *(_mean(told[part]) for part in parts)]
        for sense, told in result.get("errors", {}).items()
    ]
    if not rows:
        return []
    note = (
        f"Mean squared errors of {len(result['samples'])} samples of {result['data']}, where they have that "
        "sense, and what seeing and hearing add to them, exact Shapley values: below 0 a sense lessens the "
        "error."
    )
    return [Table("Where its errors come from", ["error of", "mean", "seeing", "hearing"], rows, note)]


def _mean(values: list[float | None]) -> str:
    """Return the mean over the samples that have the sense, a dash where none has."""
    known = [value for value in values if value is not None]
    return f"{fmean(known):.5f}" if known else "-"
