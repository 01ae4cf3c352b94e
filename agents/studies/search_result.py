"""What ``spl search agent`` found: trials by their rank, as a file and as a table.

How trials are drawn and trained is in `spl.agents.studies.search`.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.ablation.comparison import Entry
from spl.ablation.grid import place_of
from spl.ablation.varied import told as as_word
from spl.agents.evaluation.returns import bootstrap_interval, interquartile_mean
from spl.config.errors import UsageError
from spl.runs.directory import generator_of
from spl.runs.files import replace_text
from spl.runs.logger import print_table

RETURNS = "returns.json"  # in the folder of a run: those that judge it
RESULT, BEST = "search.json", "best.yaml"
MOST_SHOWN = 10  # trials in the table


def returns_in(folder: Path, entry: Entry, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Return the returns of a trial's finished runs, ``(seeds, episodes)``.

    Raises:
        UsageError: if they cannot be read.
    """
    found = []
    for seed in seeds:
        path = place_of(folder, entry.name, seed) / RETURNS
        try:
            found.append([float(one) for one in json.loads(path.read_bytes())])
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{path} is missing, empty or cut: {error!r}; copy it again") from error
    return np.array(found)


def figures(folder: Path, entry: Entry, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the interquartile mean of all returns of a whole trial, and its 95 % interval.

    Episodes are drawn again within each seed: the interval is of these agents, not of other seeds.
    """
    returns = returns_in(folder, entry, seeds)
    interval = bootstrap_interval(returns, generator_of(seeds[0], "bootstrap"))
    return {"iqm": interquartile_mean(returns), "interval_95": list(interval)}


def rank(
    entries: Sequence[Entry],
    options: Mapping[str, Mapping[str, Any]],
    whole: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the trials as JSON holds them, the best first; those that are not whole have no rank.

    Args:
        entries: trials that were drawn.
        options: of each, by its name.
        whole: the `figures` of those that are whole, likewise.
    """
    found: list[dict[str, Any]] = []
    for entry in entries:
        told = whole.get(entry.name, {"iqm": None, "interval_95": None})
        failed = next(iter(entry.failures.values()), None)
        one = {"rank": None, "trial": entry.name, **told, "options": dict(options[entry.name])}
        found.append({**one, "failed": failed})
    found.sort(key=lambda one: (one["iqm"] is None, -(one["iqm"] or 0.0)))
    for place, one in enumerate(found, 1):
        one["rank"] = place if one["iqm"] is not None else None
    return found


def write_best(folder: Path, options: str) -> str:
    """Write the options of the best trial, and return the command that trains with them."""
    replace_text(folder / BEST, options)
    return f"spl train agent --config {shlex.quote(str(folder / BEST))}"


def value_told(value: Any) -> str:
    """Return a value of an option, a fraction with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else as_word(value)


def print_search(folder: Path, result: Mapping[str, Any]) -> None:
    """Print the best trials, the command that trains with their options, and where all of it is written."""
    trials = result["trials"]
    names = list(trials[0]["options"])
    done = [one for one in trials if one["rank"] is not None]
    rows = [
        [
            str(one["rank"]),
            one["trial"],
            f"{one['iqm']:.2f}",
            "{:.2f} … {:.2f}".format(*one["interval_95"]),
            *(value_told(one["options"][name]) for name in names),
        ]
        for one in done[:MOST_SHOWN]
    ]
    found, seeds = f"{len(done)} trial{'s' * (len(done) != 1)}", len(result["seeds"])
    title = f"Best of {found}: {seeds} seed{'s' * (seeds != 1)} of {result['episodes']} episodes each"
    print_table(title, ["rank", "trial", "IQM", "95 % interval", *names], rows)
    for one in trials:
        if one["failed"] is not None:
            print(f"failed       {one['trial']}: {one['failed']}")
    if "command" in result:
        print(f"train with the best options:  {result['command']}")
    print(f"written to   {shlex.quote(str(folder / RESULT))}; each run lies in cells/ beside it")
