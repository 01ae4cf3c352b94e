"""Tables of an autoencoder's evaluation: on the terminal and as Markdown."""

from pathlib import Path
from typing import Any, NamedTuple

from spl.data.audiovisual import NAMES
from spl.folder_files import sentences
from spl.models.autoencoder import CONDITIONS
from spl.pretrain.evaluation.probes import NUM_BLOCKS, NUM_TEST_BLOCKS
from spl.runs.logger import print_table


class Sheet(NamedTuple):
    """A table in words."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """Return what `evaluate_autoencoder` returned as tables; what was left out has none."""
    found = [_reconstruction(result)]
    if "left_out" not in result["probe"]:
        found.append(_probe(result["probe"], result.get("against")))
    if "left_out" not in result["retrieval"]:
        found.append(_retrieval(result["retrieval"]))
    return found


def notes(result: dict[str, Any]) -> list[str]:
    """Return the sentences that belong to the tables."""
    of_whom = f"{len(result['runs'])} runs" if "runs" in result else f"after update {result['update']:,}"
    found = [f"{of_whom}, {result['samples']:,} samples of {result['data']}"]
    found += sentences(result.get("files", {}).get("left_out", ()))
    found += [result[name]["left_out"] for name in ("probe", "retrieval") if "left_out" in result[name]]
    if "splits" in result["probe"]:
        found.append(
            f"the probe knows each class but {NUM_TEST_BLOCKS} of its {NUM_BLOCKS} stretches of time, on "
            f"which it is tried; {_spread(result)}"
        )
        found.append(
            "direction: the code with length 1; PCA: principal components of video and audio; "
            "CCA: canonical correlation of the two"
        )
    return found


def _spread(result: dict[str, Any]) -> str:
    splits = f"{result['probe']['splits']} such splits"
    if "runs" in result:
        return f"means of {splits}; ± is everywhere the 95 % interval over the runs"
    return f"± is the 95 % interval over {splits}, which share samples"


def print_evaluation(result: dict[str, Any], folder: Path | None) -> None:
    """Print what `evaluate_autoencoder` returned, or `pool` of several, which lies in no folder."""
    for sheet in sheets(result):
        print_table(*sheet)
    for note in notes(result):
        print(note)
    if folder is not None:
        print(f"written to {folder / 'evaluation.json'} and .md")


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables and sentences as Markdown."""
    parts = [f"# {result['run']}", *notes(result)]
    for title, columns, rows in sheets(result):
        lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def _reconstruction(result: dict[str, Any]) -> Sheet:
    runs = {"": result["reconstruction"]}
    if "against" in result:
        runs[f", {Path(result['against']).name}"] = result["reconstruction_against"]
    columns = ["shown", *(f"{name}{run}" for name in NAMES for run in runs)]
    rows = [
        [
            condition if condition == "both" else f"{condition} only",
            *(_number(one[condition][name]) for name in NAMES for one in runs.values()),
        ]
        for condition in CONDITIONS
    ]
    return Sheet("Reconstruction error, predicting the mean costs 1", columns, rows)


def _probe(found: dict[str, Any], against: str | None) -> Sheet:
    names = {"code": "code", "direction": "direction", "raw": "PCA", "canonical": "CCA"}
    if against is not None:
        names = {"code": "code", "code_against": f"code, {Path(against).name}", **names}
    rows = [
        [
            f"{learned} to {tried}",
            *(_share(found["accuracy"].get(kind, {}).get(f"{learned} to {tried}")) for kind in names),
        ]
        for learned in CONDITIONS
        for tried in CONDITIONS
    ]
    title = (
        f"Linear probe: accuracy on held-out stretches of time; {len(found['classes'])} classes, "
        f"chance {found['chance']:.0%}"
    )
    return Sheet(title, ["learned, tried", *names.values()], rows)


def _retrieval(found: dict[str, Any]) -> Sheet:
    kinds = ("video to audio", "audio to video", "chance")
    rows = [[kind, *(f"{share:.1%}" for share in found[kind].values())] for kind in kinds]
    columns = ["retrieval", *(f"top {k}" for k in found["chance"])]
    return Sheet(
        f"Retrieval of the match among {found['samples']:,}, by the cosine of the codes", columns, rows
    )


def _number(share: float | dict[str, float | None] | None) -> str:
    """Return an error, or its mean over runs with half of its 95 % interval."""
    if not isinstance(share, dict):
        return "-" if share is None else f"{share:.3f}"
    mean, low = share["mean"], share["low"]
    if mean is None or low is None:
        return _number(mean)
    return f"{mean:.3f} ± {mean - low:.3f}"


def _share(found: dict[str, float | None] | None) -> str:
    """Return a mean with half of its 95 % interval over the splits."""
    if found is None or found["mean"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['mean']:.1%}"
    return f"{found['mean']:.1%} ± {found['mean'] - found['low']:.1%}"
