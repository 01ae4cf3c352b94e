"""What ``spl ablate classifier`` measures, and its table in the papers' layout."""

from collections.abc import Collection, Sequence

from spl.ablation.comparison import Column, Comparison, Entry, Layout, Measure, Panel, Rows
from spl.ablation.tables import decimal, difference, significance, with_interval
from spl.classify.config import TrainClassifierConfig
from spl.config.parse import to_dict
from spl.data.images.datasets import ImageSets

MIN_CLASSES_FOR_TOP5 = 11  # with ten, as in CIFAR-10, half of all guesses are among the top 5
ERROR = Measure("error", "error %", 2, "error on held-out images after the last epoch, %")
TOP5_ERROR = Measure("top5_error", "top-5 error %", 2, "class not among the five highest, %")
MEASURES = (
    ERROR,  # of images whose class has not the highest score, after the last epoch
    TOP5_ERROR,
    Measure("best_epoch", "best epoch", 0, "epoch"),
    Measure("best_epoch_error", "error % of the best epoch", 2, "chosen on the held-out images: optimistic"),
)
PANEL = Panel("test/top1", "epoch", 100.0, "error on held-out images, %", is_log=True)


def papers_layout(num_classes: int) -> Layout:
    """Return architecture, what it costs, its errors; and summaries of a row a network."""
    columns = [
        Column("parameters", lambda _, entry: f"{entry.facts['parameters'] / 1e6:.3f} M"),
        Column("MACs", lambda _, entry: _giga(entry.facts["macs"])),
        with_interval(ERROR),
        Column("best", _best),
        *([Column(TOP5_ERROR.title, _top5)] if num_classes >= MIN_CLASSES_FOR_TOP5 else []),
        difference(ERROR),
        significance(ERROR),
    ]
    return Layout("architecture", columns, _summary_rows)


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.1f} M"


def _best(comparison: Comparison, entry: Entry) -> str:
    summary = comparison.summary(entry, ERROR)
    return "-" if summary is None else f"{summary.best:.2f}"


def _top5(comparison: Comparison, entry: Entry) -> str:
    summary = comparison.summary(entry, TOP5_ERROR)
    return "-" if summary is None else f"{summary.mean.mean:.2f}"


def _summary_rows(comparison: Comparison) -> Rows:
    """Return a row for each network."""
    columns = "variant,architecture,parameters,macs,seeds,error,error_low,error_high,sd,best,top5_error"
    columns += ",difference,difference_low,difference_high,p,p_holm,baseline"
    rows: Rows = [[*columns.split(",")]]
    found = comparison.p_values(ERROR)
    for entry in comparison.entries:
        error, top5 = (comparison.summary(entry, measure) for measure in (ERROR, TOP5_ERROR))
        numbers: list[float | None] = [None] * 6
        if error is not None and top5 is not None:
            numbers = [*error.mean, error.sd, error.best, top5.mean.mean]
        row = [entry.name, entry.label, *entry.facts.values(), len(entry.outcomes), *map(decimal, numbers)]
        difference = None if error is None else error.difference
        baseline = "" if difference is None else comparison.baseline_of(entry).name
        compared = (*(difference or (None, None, None)), *found.get(entry.name, (None, None)))
        rows.append([*row, *map(decimal, compared), baseline])
    return rows


def notes_on(
    config: TrainClassifierConfig,
    sets: ImageSets,
    seeds: Sequence[int],
    baselines: Sequence[str],
    varied: Collection[str],
) -> list[str]:
    """Return the sentences that say how a comparison was made and what its columns mean.

    Args:
        config: what all its trainings have in common, but for the options that are ``varied``.
        sets: the images.
        seeds: of each training.
        baselines: labels of what differences are to.
        varied: dotted names.
    """
    recipe = {name: value for name, value in to_dict(config.recipe).items() if f"recipe.{name}" not in varied}
    if config.recipe.schedule != "step":
        recipe = {name: value for name, value in recipe.items() if name not in ("milestones", "factor")}
    told = ", ".join(f"{name} {value}" for name, value in recipe.items() if value is not None)
    num_held_out = len(sets.test.indices)
    to = (
        baselines[0]
        if len(baselines) == 1
        else f"the first of each network and training ({', '.join(baselines)})"
    )
    beside = "".join(
        f", {told}"
        for name, told in (
            ("curriculum.name", f"curriculum {config.curriculum.name}"),
            ("precision", f"precision {config.precision}"),
            ("model.attention_per", f"attention per {config.model.attention_per}"),
        )
        if name not in varied
    )
    return [
        f"Data: {config.data.name}, {len(sets.train.indices):,} images to learn from, "
        f"{num_held_out:,} held out, {len(sets.classes)} classes, {sets.size} x {sets.size}, "
        f"augmentation {config.data.augmentation}.",
        f"Recipe: {told}{beside}.",
        f"Seeds: {', '.join(map(str, seeds))}. With one seed all networks see the same images, in the same "
        "order and varied in the same way; their first weights differ.",
        "Error: percent of the held-out images named wrong after the last epoch, not after the best one; "
        f"one image is {100.0 / num_held_out:.2g} %. Mean over seeds "
        "with its 95 % interval by Student's t; summary.csv has the standard deviation.",
        "Best: the lowest error of the seeds, as the HAM paper prints it; chosen on the held-out images, "
        "and so optimistic.",
        f"Difference: to {to} in percentage points, mean over the seeds that both have, with its 95 % "
        "interval by Student's t over these pairs.",
        "p: of the paired t-test of these differences, two-sided, corrected by Holm's method for the number "
        "of comparisons in the table; summary.csv has both.",
        "MACs: multiply-accumulates of one image, without pooling and scaling; FLOPs are twice as many.",
    ]
