"""``spl explain classifier``: maps by several methods and runs side by side, and measures of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spl.classify.load import MovedConfig
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Count0
from spl.explain.figures import Drawn, draw_measures, draw_overlays
from spl.explain.gates import Gates, draw_gates, gates_of
from spl.explain.subjects import (
    Asked,
    Subject,
    ask_files,
    ask_held_out,
    check_files,
    read_subjects,
    spread,
    usable_methods,
)
from spl.explain.tables import Explanation, Row, as_markdown, notes_on
from spl.runs.files import replace_text, writable
from spl.runs.logger import Report
from spl.saliency import METHODS, predicted
from spl.saliency.methods import LAYERLESS
from spl.saliency.metrics import Measured, confidence, measure, together, win_rate


@dataclass(frozen=True, kw_only=True)
class ExplainClassifierConfig:
    """What is drawn and measured of trained classifiers."""

    num_drawn: Count = 6  # held-out images to draw, unless --images are given
    method: tuple[str, ...] = ("grad-cam", "grad-cam++", "layer-cam")  # saliency methods
    layers: tuple[str, ...] = ()  # of the class activation maps; empty: last stage; stages: each
    num_measured: Count0 | None = 200  # held-out images to measure, evenly spread; 0: none, null: all
    num_curve_steps: Count = 16  # steps of the insertion and deletion curves
    batch_size: Count = 32  # images at a time
    checkpoint: Literal["last", "best"] = "last"  # weights after the last epoch, or after the best one
    data: MovedConfig = field(default_factory=MovedConfig)
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    out: PathName | None = None  # output folder; null: explanation/ in the first run directory

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = [method for method in self.method if method not in METHODS]
        if unknown or not self.method or len(set(self.method)) < len(self.method):
            raise ValueError(f"method must be some of {', '.join(METHODS)}, each once, got {self.method}")
        if self.layers and not {*self.method}.difference(LAYERLESS):
            raise ValueError(
                f"none of the methods {', '.join(self.method)} is taken at a layer: leave it out"
            )


def explain_classifier(
    folders: Sequence[Path], config: ExplainClassifierConfig, files: Sequence[str] = ()
) -> Explanation:
    """Draw and measure what the classifiers of runs look at, and write it.

    ``overlays.png`` has a row for each image and a column for each run and method; ``measures.json``,
    ``measures.md`` and ``measures.png`` are of held-out images of each run.

    Args:
        folders: of the runs.
        config: which methods, on what.
        files: images to draw; none for some held-out ones, which the runs must then have in common.

    Raises:
        UsageError: if a run, an image, a layer or the folder to be written does not serve.
    """
    check_files(files)
    subjects = read_subjects(
        folders, config.checkpoint, layers=config.layers, root=config.data.root, device=config.device
    )
    methods, left_out = {}, []
    for subject in subjects:
        methods[subject.label], told = usable_methods(subject, config.method)
        left_out += told
    if not any(methods.values()):
        raise UsageError("\n".join(left_out))
    asked = ask_files(subjects, files) if files else ask_held_out(subjects, config.num_drawn)
    out = writable(Path(config.out) if config.out is not None else folders[0] / "explanation")
    drawn = [
        _drawn(one, methods[one.label], images, config.batch_size)
        for one, images in zip(subjects, asked, strict=True)
    ]
    draw_overlays(drawn, out / "overlays.png")
    gates = _gates(subjects, asked, config, out)
    rows = _measure_all(subjects, methods, config, out) if config.num_measured != 0 else []
    notes = [*(notes_on(subjects, rows) if rows else []), *left_out]
    _write_measures(rows, notes, out)
    result = _as_json(subjects, drawn, rows, notes, gates)
    replace_text(
        out / "measures.json", json.dumps({"checkpoint": config.checkpoint, **result}, indent=2) + "\n"
    )
    return Explanation(rows, notes, out)


def _write_measures(rows: Sequence[Row], notes: Sequence[str], out: Path) -> None:
    """Write them as a picture and a table; without any, those of an earlier explanation go."""
    picture, table = out / "measures.png", out / "measures.md"
    if rows:
        draw_measures(rows, picture)
        replace_text(table, as_markdown(rows, notes))
    else:
        picture.unlink(missing_ok=True)
        table.unlink(missing_ok=True)


def _gates(
    subjects: Sequence[Subject], asked: Sequence[Asked], config: ExplainClassifierConfig, out: Path
) -> dict[str, Gates]:
    """Draw and return what attention to channels lets pass at the chosen layers, by subject.

    Without any, the picture of an earlier explanation goes.
    """
    looked_at = zip(subjects, asked, strict=True) if config.layers else ()
    found = [gates_of(one, some.images, config.batch_size) for one, some in looked_at]
    gates = {one.subject.label: one for one in found if one is not None}
    picture = out / "gates.png"
    if gates:
        draw_gates([*gates.values()], picture)
    else:
        picture.unlink(missing_ok=True)
    return gates


def _described(subject: Subject, gates: Gates | None) -> dict[str, Any]:
    return {
        "run": str(subject.folder),
        "label": subject.label,
        "layer": subject.layer,
        "parameters": subject.cost.num_parameters,
        "milliseconds_per_image": subject.cost.milliseconds,
        "gates": None if gates is None else {"modules": len(gates.values), "likeness": gates.likeness},
    }


def _as_json(
    subjects: Sequence[Subject],
    drawn: Sequence[Drawn],
    rows: Sequence[Row],
    notes: Sequence[str],
    gates: dict[str, Gates],
) -> dict[str, Any]:
    """Return what ``measures.json`` holds."""
    return {
        "confidence": "softmax over classes",
        "runs": [_described(one, gates.get(one.label)) for one in subjects],
        "images": [_image_row(drawn, number) for number in range(len(drawn[0].named))],
        "measures": [row.as_json() for row in rows],
        "notes": notes,
    }


def _drawn(subject: Subject, methods: Sequence[str], asked: Asked, batch_size: int) -> Drawn:
    """Return what a subject makes of the images that are drawn."""
    named: list[str] = []
    probabilities: list[float] = []
    parts: dict[str, list[Tensor]] = {method: [] for method in methods}
    for images in torch.split(asked.images, batch_size):
        inputs = subject.classifier.inputs(images)
        classes = predicted(subject.model, inputs)
        named += [subject.sets.classes[index] for index in classes.tolist()]
        probabilities += confidence(subject.model, inputs, classes).tolist()
        for method, kept in parts.items():
            kept.append(subject.maps(method, inputs, classes).cpu())
    maps = {method: torch.cat(kept) for method, kept in parts.items()}
    return Drawn(subject.label, asked, named, probabilities, maps)


def _image_row(drawn: Sequence[Drawn], number: int) -> dict[str, Any]:
    asked = drawn[0].asked
    told = {
        one.label: {"class": one.named[number], "probability": one.probabilities[number]} for one in drawn
    }
    return {"image": asked.names[number], "truth": asked.truths[number], "named": told}


def _measure_all(
    subjects: Sequence[Subject],
    methods: dict[str, list[str]],
    config: ExplainClassifierConfig,
    out: Path,
) -> list[Row]:
    """Return a row for each run and method, with progress meanwhile."""
    places = {one.label: spread(len(one.sets.test.indices), config.num_measured) for one in subjects}
    total = sum(len(places[one.label]) * len(methods[one.label]) for one in subjects)
    rows, done = [], 0
    with Report(out, "spl explain classifier", total, is_logged=False) as report:
        firsts: dict[Path, Measured] = {}  # by run, of its first method
        for subject in subjects:
            parts: dict[str, list[Measured]] = {method: [] for method in methods[subject.label]}
            for batch in subject.held_out(places[subject.label], config.batch_size):
                inputs = subject.classifier.inputs(batch.images)
                classes = predicted(subject.model, inputs)
                for method, kept in parts.items():
                    kept.append(_measured(subject, method, inputs, classes, config.num_curve_steps))
                    done += len(inputs)
                    if report.is_due():
                        report.show(done, {"run": subject.label, "method": method})
            whole = {method: together(kept) for method, kept in parts.items()}
            if whole:
                firsts.setdefault(subject.folder, next(iter(whole.values())))
                rows += _rows(subject, whole, firsts[subject.folder])
        report.show(total, {"runs": len(subjects), "methods": len(config.method)})
    return rows


def _measured(subject: Subject, method: str, inputs: Tensor, classes: Tensor, num_steps: int) -> Measured:
    maps = subject.maps(method, inputs, classes)
    measured = measure(subject.model, inputs, maps, classes, num_steps=num_steps)
    return Measured(*(field.cpu() for field in measured))


def _rows(subject: Subject, whole: dict[str, Measured], first: Measured) -> list[Row]:
    """Return the rows of a run's layer; a win rate is that over ``first``, of the run's first method."""
    rows = []
    for method, measured in whole.items():
        wins = None
        if measured is not first:
            wins = win_rate(measured.full, measured.masked, first.masked)
        rows.append(Row(subject.label, method, measured, wins))
    return rows
