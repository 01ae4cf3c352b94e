"""Tables of a classifier's scores."""

from pathlib import Path
from typing import Any

from spl.folder_files import named
from spl.runs.logger import print_table

WORST = 10  # classes that are shown on the terminal; the file has all


def print_classes(classes: list[dict[str, Any]]) -> None:
    """Print the rows of `scores.class_rows`, the worst first."""
    rows = [
        [row["class"], f"{row['images']:,}", _share(row["recall"]), _share(row["precision"]), _taken_for(row)]
        for row in classes[:WORST]
    ]
    columns = ["class", "held-out images", "recall", "precision", "confused with"]
    more = len(classes) - len(rows)
    print_table(f"Classes, the worst first{f'; {more} more in the file' if more else ''}", columns, rows)


def print_evaluation(result: dict[str, Any], path: Path) -> None:
    """Print what `evaluate_classifier` returned."""
    print_classes(result["classes"])
    top = f"top-1 {result['top1']:.2%}, top-5 {result['top5']:.2%}, loss {result['loss']:.4f}"
    if not result["run_is_finished"]:
        print("the run is not finished: these are the weights of its last save so far")
    if result["changed"] is not None:
        print(f"changed        {result['changed']}")
    for each in (result["files"] or {"reasons": ()})["reasons"]:
        print(f"left out       {each['count']:,} ({each['reason']}): {named(each['names'], each['count'])}")
    print(f"{result['checkpoint']} weights   {top} on {result['images']:,} held-out images")
    if told := result.get("masks"):
        print(f"masks          {told['sentence']}")
    for sentence in (result["warning"] or {"sentences": ()})["sentences"]:
        print(f"warning        {sentence}")
    print(f"written to   {path}")


def print_result(result: dict[str, Any], path: Path) -> None:
    """Print what a finished run wrote: overall, and its classes with the worst first."""
    print_classes(result["classes"])
    last, best = result["last"], result["best"]
    print(f"last epoch   top-1 {last['top1']:.2%}, top-5 {last['top5']:.2%}, loss {last['loss']:.4f}")
    print(f"best epoch   top-1 {best['top1']:.2%}, epoch {best['epoch']}; chosen on these images: optimistic")
    if "peer" in result:
        peer = result["peer"]
        print(
            f"peer         {peer['model']}, attention {peer['attention']}: top-1 {peer['last']['top1']:.2%}"
        )
    if "restarts" in result:
        restarts = result["restarts"]
        told = f"{restarts['mean']:.2%} ± {restarts['sd']:.2%}"
        told += "".join(f"; {name} failed: {why}" for name, why in restarts["failed"].items())
        print(
            f"restarts     {restarts['kept']} is kept, the best of {len(restarts['top1'])} on these images: "
            f"optimistic, too; all of them: {told}"
        )
    print(f"written to   {path}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _taken_for(row: dict[str, Any]) -> str:
    return "-" if row["confused_with"] is None else str(row["confused_with"])
