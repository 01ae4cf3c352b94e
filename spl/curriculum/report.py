"""``spl report curriculum``: the choices of a run, from its recorded rounds, for any kind of learner."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.curriculum.figures import Marks, Tile, draw_rounds, draw_tiles
from spl.curriculum.rounds import FOLDER, Rounds, chosen, read_rounds
from spl.runs.files import replace_text

NUM_TILES = 10  # samples in a row
NUM_STAGES = 3  # rows of samples by when they came in
MOST_SHOWN = 12  # rounds in the table


class Samples(NamedTuple):
    """What was learned from."""

    num_samples: int  # N
    marks: Marks | None  # of all of them
    tiles: Callable[[NDArray[np.int64]], list[Tile]]  # how samples look
    write_sounds: Callable[[NDArray[np.int64], Path], None] | None = None  # one after the other; None: silent


class Reported(NamedTuple):
    """What was written, and what is to be told."""

    paths: list[Path]
    columns: list[str]
    rows: list[list[str]]  # of a table of the rounds
    note: str | None  # a sentence on what was not kept


def report_rounds(folder: Path, samples: Samples, title: str) -> Reported:
    """Write pictures, sounds and a table of a run's rounds into ``folder/curriculum``.

    Raises:
        UsageError: if the run kept no rounds, they cannot be read, or the samples are others by now.
    """
    rounds, place = read_rounds(folder), folder / FOLDER
    if samples.num_samples != rounds.num_samples:
        raise UsageError(
            f"{folder} learned from {rounds.num_samples:,} samples, and its data have "
            f"{samples.num_samples:,} now: bring those back that it learned from"
        )
    marks = samples.marks
    if marks is not None:
        marks = marks._replace(is_marked=marks.is_marked[rounds.samples])
    draw_rounds(rounds, marks, place / "rounds.png", title)
    shown = exemplars(rounds)
    rows = {
        name: [
            tile._replace(caption=f"{tile.caption}\n{rounds.losses[-1, position]:.2g}")
            for tile, position in zip(samples.tiles(rounds.samples[places]), places, strict=True)
        ]
        for name, places in shown.items()
    }
    draw_tiles(rows, place / "samples.png", f"{title}: label and last loss of each sample")
    replace_text(place / "samples.csv", _as_csv(rounds, marks))
    written = [place / name for name in ("rounds.png", "samples.png", "samples.csv")]
    if samples.write_sounds is not None:
        for name in ("easiest", "hardest"):
            written.append(place / f"{name}.wav")
            samples.write_sounds(rounds.samples[shown[name]], written[-1])
    columns = ["round", "included", "hardest loss"]
    if marks is not None:
        columns.append(f"{marks.name}, of the included")
    return Reported(written, columns, round_rows(rounds, marks), rounds.thinning)


def exemplars(rounds: Rounds) -> dict[str, NDArray[np.int64]]:
    """Return places ``(n,)`` of samples by the name of their row: easiest, by when they came in, hardest."""
    last, entries = rounds.losses[-1], rounds.entries
    known = np.flatnonzero(np.isfinite(last))
    ordered = known[np.argsort(last[known], kind="stable")]
    rows = {"easiest": ordered[:NUM_TILES]}
    came = np.unique(entries[entries < rounds.num_rounds])
    for stage in np.array_split(came, min(NUM_STAGES, len(came))) if len(came) else []:
        first, end = int(stage[0]) + 1, int(stage[-1]) + 1
        name = f"in from round {first}" if first == end else f"in from rounds\n{first} to {end}"
        rows[name] = _spread(ordered[np.isin(entries[ordered], stage)])
    if len(came):  # in the warm-up all are in, and none was left out
        rows["never in"] = _spread(ordered[entries[ordered] == rounds.num_rounds])
    rows["hardest"] = ordered[::-1][:NUM_TILES]
    return {name: places for name, places in rows.items() if len(places)}


def _spread(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most ``NUM_TILES`` of the places, evenly."""
    count = min(NUM_TILES, len(places))
    return places[((np.arange(count) + 0.5) * len(places) / max(1, count)).astype(np.int64)]


def round_rows(rounds: Rounds, marks: Marks | None) -> list[list[str]]:
    """Return a row for at most ``MOST_SHOWN`` rounds: number, share included, hardest loss, share marked."""
    rows = []
    for row in chosen(len(rounds.numbers), MOST_SHOWN):
        is_in, losses = rounds.is_included[row], rounds.losses[row]
        known = losses[is_in & np.isfinite(losses)]
        told = [
            f"{rounds.numbers[row] + 1}",
            f"{is_in.mean():.1%}",
            f"{known.max():.3g}" if known.size else "-",
        ]
        rows.append(told if marks is None else [*told, f"{marks.is_marked[is_in].mean():.1%}"])
    return rows


def _as_csv(rounds: Rounds, marks: Marks | None) -> str:
    """Return a line for each sample: its number, when it came in and for how many rounds, its last loss."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    marked: Sequence[str] = [] if marks is None else [marks.name.replace(" ", "_")]
    writer.writerow(["sample", "first_round", "rounds_in", "last_loss", *marked])
    counts, entries = rounds.is_included.sum(axis=0), rounds.entries
    for place, sample in enumerate(rounds.samples):
        first = "" if entries[place] == rounds.num_rounds else int(entries[place]) + 1
        values = [int(sample), first, int(counts[place]), f"{rounds.losses[-1, place]:.5g}"]
        writer.writerow(values + ([] if marks is None else [int(marks.is_marked[place])]))
    return file.getvalue()
