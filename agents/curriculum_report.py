"""``spl report curriculum`` of an agent: its replay over the run, the easiest and hardest transitions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.agents.build import saved_memory
from spl.agents.config import TrainAgentConfig, read_run
from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import UsageError
from spl.curriculum.figures import Points, Tile, draw_replay, draw_tiles
from spl.curriculum.report import MOST_SHOWN, NUM_TILES, Reported
from spl.curriculum.rounds import FOLDER, chosen
from spl.pretrain.learned_samples import pair_tiles
from spl.runs import checkpoint

GROUPS = {
    "share of what is drawn": {
        "learned": "share",
        "drawn by priority": "hardness",
        "rescored": "rescored",
    },
    "loss": {"hardest learned": "threshold", "learned": "mean_loss", "drawn": "mean_loss_of_drawn"},
    "importance": {"beta": "beta", "mean priority": "mean_priority"},
}
COLUMNS = ["step", "learned", "drawn by priority", "mean loss learned", "of the drawn"]


def report_replay(folder: Path, rows: list[dict[str, Any]]) -> Reported:
    """Write pictures of an agent's curriculum into ``folder/curriculum``.

    Args:
        folder: of the run.
        rows: of its ``metrics.jsonl``.

    Raises:
        UsageError: if it had no curriculum, reported nothing of it yet, or its memory cannot be read.
    """
    config = read_run(folder)
    found = curves_of(rows)
    if config.curriculum.name == "uniform":
        raise UsageError(f"{folder} had no curriculum: train with --curriculum self-paced, for instance")
    if not found:
        raise UsageError(f"{folder} has no row of its curriculum yet: let it train for longer")
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    title = f"{config.curriculum.name} · {config.env.id} · seed {config.seed}"
    draw_replay(found, place / "replay.png", title)
    paths, note = [place / "replay.png"], None
    if (folder / "memory").is_dir():
        tiles, what = _extremes(folder, config)
        draw_tiles(tiles, place / "samples.png", f"{title}: above each action, reward and {what}")
        paths.append(place / "samples.png")
    else:
        note = "The memory was not saved (--save_memory), so that its transitions cannot be shown."
    return Reported(paths, COLUMNS, table_rows(rows), note)


def curves_of(rows: list[dict[str, Any]]) -> Mapping[str, Mapping[str, Points]]:
    """Return what the rows tell of a curriculum over the steps: curves by name, by panel."""
    panels: dict[str, Mapping[str, Points]] = {}
    for panel, names in GROUPS.items():
        curves = {
            label: [(row["step"], row[tag]) for row in rows if tag in row]
            for label, tag in ((label, f"curriculum/{name}") for label, name in names.items())
        }
        if told := {label: points for label, points in curves.items() if points}:
            panels[panel] = told
    return panels


def table_rows(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return at most ``MOST_SHOWN`` rows of a table, evenly chosen."""
    told = [row for row in rows if "curriculum/share" in row]
    tags = [f"curriculum/{name}" for name in ("share", "hardness", "mean_loss", "mean_loss_of_drawn")]
    return [
        [f"{row['step']:,}", *(f"{row[tag]:.3g}" if row.get(tag) is not None else "-" for tag in tags)]
        for row in (told[place] for place in chosen(len(told), MOST_SHOWN))
    ]


def _extremes(folder: Path, config: TrainAgentConfig) -> tuple[dict[str, list[Tile]], str]:
    """Return transitions from easy to hard as they are drawn, and by what they are ordered."""
    try:
        state = checkpoint.load(folder / "checkpoints")
        memory = saved_memory(config, folder, mmap=True, writable=False)
        memory.load_state_dict(state["memory"])
        known = state["curriculum"]
        what = "last loss" if "losses" in known else "priority"
        values = known["losses"]["losses"] if "losses" in known else known["priorities"]["values"]
        if values.shape != memory.sampleable.mask.shape:
            raise ValueError(f"it has {memory.sampleable.mask.size} places, and {values.size} losses")
    except (ValueError, KeyError) as error:
        raise UsageError(f"the memory of {folder} cannot be read: {error}") from error
    places = np.flatnonzero(memory.sampleable.mask & np.isfinite(values))
    ordered = places[np.argsort(values[places], kind="stable")]
    middle = max(0, len(ordered) // 2 - NUM_TILES // 2)
    rows = {
        "easiest": ordered[:NUM_TILES],
        "in the\nmiddle": ordered[middle : middle + NUM_TILES],
        "hardest": ordered[::-1][:NUM_TILES],
    }
    if not len(ordered):
        raise UsageError(f"no transition of {folder} has a {what} yet: let it train for longer")
    return {name: _tiles(memory, found, values) for name, found in rows.items()}, what


def _tiles(memory: ReplayMemory, places: NDArray[np.int64], values: NDArray[Any]) -> list[Tile]:
    """Return how transitions look, with their actions, rewards and ``values``."""
    batch = memory.at(places)
    captions = [
        f"{' '.join(map(str, action.reshape(-1).tolist()))}, {float(reward):.3g}\n{value:.2g}"
        for action, reward, value in zip(batch.action, batch.reward, values[places], strict=True)
    ]
    return pair_tiles(batch.video, batch.audio, captions)
