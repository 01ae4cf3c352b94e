"""Evaluate classifiers' maps over seeds: attention modules, or training alone, mutual and with transfer.

Give the folders of runs of ``spl train classifier``, such as the cells of ``spl ablate classifier``, or runs
with ``--transfer.peer``, of which both networks are judged, unless the peer is a teacher that does not learn;
with ``--transfer.weight 0`` each learns as if alone. Each is explained as ``spl explain classifier`` does it.
Printed is a Markdown table with mean and standard deviation over the seeds. Differences, paired by seed and
with their 95 % interval (Student's t), are to the same network alone, and of one without a peer to the one
without attention.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spl.ablation.statistics import paired
from spl.ablation.tables import as_table, signed
from spl.classify.config import RUNS, TrainClassifierConfig, peer_of
from spl.classify.train import read_result
from spl.explain.classifier import ExplainClassifierConfig, explain_classifier
from spl.runs.directory import read_run

MEASURES = {  # title, digits
    "top1": ("top-1 %", 1),
    "average_drop": ("average drop %", 1),
    "average_increase": ("average increase %", 1),
    "insertion": ("insertion", 3),
    "deletion": ("deletion", 3),
}
COMPARED = ("average_drop", "average_increase")
ALONE = "alone"
Values = Mapping[str, Mapping[int, float]]  # measure -> seed -> value


class Setting(NamedTuple):
    """What the runs of one row have in common."""

    network: str
    attention: str
    how: str

    @property
    def baseline(self) -> "Setting | None":
        """What it is compared with; None: it is a baseline itself."""
        if self.how != ALONE:
            return self._replace(how=ALONE)
        return None if self.attention == "none" else self._replace(attention="none")


def judge(folder: Path, config: ExplainClassifierConfig) -> tuple[int, dict[Setting, dict[str, float]]]:
    """Return a run's seed, and the measures of its classifier and of its peer if it has one."""
    run = read_run(TrainClassifierConfig, folder, RUNS)
    transfer = run.transfer
    is_taught = transfer.weights is not None
    how = f"{transfer.kind}{' of a teacher' if is_taught else ''}, weight {transfer.weight:g}"
    how = how if transfer.peer and transfer.weight else ALONE
    settings = {folder: Setting(run.model.name, run.model.placed_attention, how)}
    if transfer.peer is not None and not is_taught:
        peer = peer_of(run).model
        settings[folder / "peer"] = Setting(f"{peer.name}, the peer", peer.placed_attention, how)
    found = {}
    rows = explain_classifier(list(settings), config).rows
    for (place, setting), row in zip(settings.items(), rows, strict=True):
        told = {"top1": 100 * read_result(place)["last"]["top1"], **row.measured.summary()}
        found[setting] = {name: told[name] for name in MEASURES}
    return run.seed, found


def table(found: Mapping[Setting, Values]) -> list[str]:
    """Return the lines of the table, each network's settings together and its baselines first."""
    rows = []
    for setting in sorted(found, key=lambda one: (one.network, one.how != ALONE, one.how)):
        values = found[setting]
        baseline = None if setting.baseline is None else found.get(setting.baseline)
        cells = [*setting, str(len(values["top1"]))]
        for name, (_, digits) in MEASURES.items():
            numbers = list(values[name].values())
            spread = f" ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
            cells.append(f"{statistics.fmean(numbers):.{digits}f}{spread}")
        for name in COMPARED:
            difference = None if baseline is None else paired(values[name], baseline[name])
            cells.append(signed(difference, MEASURES[name][1]))
        rows.append(cells)
    titles = [title for title, _ in MEASURES.values()]
    columns = ["network", "attention", "learned", "seeds", *titles]
    return as_table([*columns, "drop, difference [95 %]", "increase, difference [95 %]"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--method", default="grad-cam")
    parser.add_argument("--num_measured", type=int, help="held-out images of each run; without: all")
    words = parser.parse_args()
    config = ExplainClassifierConfig(method=(words.method,), num_measured=words.num_measured, device="cpu")
    found: dict[Setting, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for folder in words.runs:
        seed, judged = judge(folder, config)
        for setting, measures in judged.items():
            if seed in found[setting]["top1"]:
                parser.error(
                    f"{folder} is a second run of {', '.join(setting)} with seed {seed}: a table has one of "
                    "each, so give those that differ in other options a table of their own"
                )
            for name, value in measures.items():
                found[setting][name][seed] = value
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
