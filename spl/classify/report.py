"""A classifier's result as a user reads it."""

from pathlib import Path
from typing import Any

from spl.report import print_table

WORST = 10  # classes that are shown on the terminal; result.json has all


def print_result(scores: dict[str, Any], folder: Path) -> None:
    """Print what a finished run scored: overall, and its classes with the worst first."""
    rows = [
        [row["class"], f"{row['images']:,}", _share(row["recall"]), _share(row["precision"]), _mostly(row)]
        for row in scores["classes"][:WORST]
    ]
    columns = ["class", "held-out images", "recall", "precision", "confused with"]
    more = len(scores["classes"]) - len(rows)
    print_table(f"Classes, the worst first{f'; {more} more in result.json' if more else ''}", columns, rows)
    last, best = scores["last"], scores["best"]
    print(f"last epoch   top-1 {last['top1']:.2%}, top-5 {last['top5']:.2%}, loss {last['loss']:.4f}")
    print(
        f"best epoch   top-1 {best['top1']:.2%}, epoch {best['epoch']}; chosen on the same images: optimistic"
    )
    if "restarts" in scores:
        restarts = scores["restarts"]
        print(
            f"restarts     {restarts['kept']} is kept, the best of {len(restarts['top1'])}: optimistic, too; "
            f"all of them: {restarts['mean']:.2%} ± {restarts['sd']:.2%}"
        )
    print(f"written to   {folder / 'result.json'}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _mostly(row: dict[str, Any]) -> str:
    return "-" if row["confused_with"] is None else str(row["confused_with"])
