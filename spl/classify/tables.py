"""A comparison as a user reads it: a table on the terminal, the same as Markdown, and files of numbers."""

from collections.abc import Sequence
from pathlib import Path

from spl.ablation.statistics import failed, headline
from spl.ablation.tables import as_csv, as_table, print_cells, signed
from spl.classify.comparison import Comparison, Entry
from spl.classify.config import TrainClassifierConfig
from spl.classify.figures import draw_comparison
from spl.config.parse import to_dict
from spl.data.images.datasets import ImageSets
from spl.runs.files import replace_text

MIN_CLASSES_FOR_TOP5 = 11  # with ten, as in CIFAR-10, half of all guesses are among the top 5


def notes_on(
    config: TrainClassifierConfig, sets: ImageSets, seeds: Sequence[int], baseline: str
) -> list[str]:
    """Return the sentences that say how a comparison was made and what its columns mean."""
    recipe = to_dict(config.recipe)
    if config.recipe.schedule != "step":
        recipe = {name: value for name, value in recipe.items() if name not in ("milestones", "factor")}
    told = ", ".join(f"{name} {value}" for name, value in recipe.items() if value is not None)
    num_held_out = len(sets.test.indices)
    return [
        f"Data: {config.data.name}, {len(sets.train.indices):,} images to learn from, "
        f"{num_held_out:,} held out, {len(sets.classes)} classes, {sets.size} x {sets.size}, "
        f"augmentation {config.data.augmentation}.",
        f"Recipe: {told}; curriculum {config.curriculum.name}, precision {config.precision}, "
        f"attention per {config.model.attention_per}.",
        f"Seeds: {', '.join(map(str, seeds))}. With one seed all networks see the same images, in the same "
        "order and varied in the same way; their first weights differ.",
        "Error: percent of the held-out images named wrong after the last epoch, not after the best one; "
        f"one image is {100.0 / num_held_out:.2g} %. Mean ± standard deviation over seeds.",
        "Best: the lowest error of the seeds, as the HAM paper prints it; chosen on the held-out images, "
        "and so optimistic.",
        f"Difference: to {baseline} in percentage points, mean over the seeds that both have, with its 95 % "
        "interval by Student's t over these pairs; nothing is corrected for there being several.",
        "MACs: multiply-accumulates of one image, without pooling and scaling; FLOPs are twice as many.",
    ]


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``ablation.md``, ``.csv`` (a row a run) and ``.png``, and ``summary.csv`` (a row a network)."""
    replace_text(folder / "ablation.csv", as_csv(_cell_rows(comparison)))
    replace_text(folder / "summary.csv", as_csv(_summary_rows(comparison)))
    if comparison.num_finished:
        draw_comparison(comparison, folder / "ablation.png")
    replace_text(folder / "ablation.md", _as_markdown(comparison))


def print_comparison(comparison: Comparison, folder: Path) -> None:
    """Print the table, its notes, and where it is written."""
    print_cells(comparison, *table_of(comparison), comparison.notes, folder)


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows in the papers' layout: architecture, what it costs, its errors."""
    has_top5 = comparison.num_classes >= MIN_CLASSES_FOR_TOP5
    columns = ["architecture", "parameters", "MACs", "error %", "best"]
    columns += ["top-5 error %"] if has_top5 else []
    columns += ["difference [95 %]", "seeds"]
    return columns, [_table_row(comparison, entry, has_top5) for entry in comparison.entries]


def _table_row(comparison: Comparison, entry: Entry, has_top5: bool) -> list[str]:
    row = [entry.label, f"{entry.num_parameters / 1e6:.3f} M", _giga(entry.macs)]
    summary = comparison.summary(entry)
    if summary is None:
        row += ["-"] * (4 if has_top5 else 3)
    else:
        spread = "" if summary.sd is None else f" ± {summary.sd:.2f}"
        row += [f"{summary.error.mean:.2f}{spread}", f"{summary.best:.2f}"]
        row += [f"{summary.top5_error:.2f}"] if has_top5 else []
        row += ["baseline" if entry is comparison.entries[0] else signed(summary.difference, 2)]
    done, total = len(entry.outcomes), len(comparison.seeds)
    return [*row, str(done) if done == total else f"{done} of {total}"]


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.1f} M"


def _as_markdown(comparison: Comparison) -> str:
    lines = [f"# {headline(comparison)}", "", *as_table(*table_of(comparison)), ""]
    lines += [f"- {sentence}" for sentence in (*comparison.notes, *failed(comparison))]
    if comparison.num_finished:
        lines += ["", "![Errors of each run, and test errors over epochs](ablation.png)"]
    return "\n".join(lines) + "\n"


def _cell_rows(comparison: Comparison) -> list[list[object]]:
    """Return a row for each run that there is to be; what is not there yet is empty."""
    columns = "variant,architecture,seed,state,parameters,macs,error,top5_error,best_epoch,best_epoch_error"
    rows: list[list[object]] = [[*columns.split(","), "seconds"]]
    for entry in comparison.entries:
        for seed in comparison.seeds:
            outcome = entry.outcomes.get(seed)
            state = "failed" if seed in entry.failures else "missing" if outcome is None else "finished"
            row = [entry.name, entry.label, seed, state, entry.num_parameters, entry.macs]
            rows.append([*row, *([""] * 5 if outcome is None else map(_decimal, outcome[:-1]))])
    return rows


def _summary_rows(comparison: Comparison) -> list[list[object]]:
    """Return a row for each network."""
    columns = "variant,architecture,parameters,macs,seeds,error,error_low,error_high,sd,best,top5_error"
    rows: list[list[object]] = [[*columns.split(","), "difference", "difference_low", "difference_high"]]
    for entry in comparison.entries:
        row = [entry.name, entry.label, entry.num_parameters, entry.macs, len(entry.outcomes)]
        summary = comparison.summary(entry)
        if summary is None:
            rows.append([*row, *[""] * 9])
            continue
        difference = summary.difference or (None, None, None)
        numbers = [*summary.error, summary.sd, summary.best, summary.top5_error, *difference]
        rows.append([*row, *map(_decimal, numbers)])
    return rows


def _decimal(value: float | None) -> object:
    """Return a number with as many digits as its unit, percent or seconds, may need; empty for None."""
    return "" if value is None else round(value, 4)
