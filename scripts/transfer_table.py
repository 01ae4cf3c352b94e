"""Judge classifiers trained alone, with mutual learning and with transfer: average drop and increase.

Give the folders of runs of ``spl train classifier --transfer.peer ...`` over seeds; with
``--transfer.weight 0`` both learn as if alone, which is the baseline. Each pair is explained as
``spl explain classifier RUN RUN/peer`` does it; printed is a Markdown table with mean and standard deviation
over the seeds, and the paired difference to the baseline with its 95 % interval (Student's t).
"""

import argparse
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from spl.ablation.cells import paired
from spl.ablation.tables import as_table, signed
from spl.classify.run import RUNS, TrainClassifierConfig
from spl.classify.train import read_result
from spl.explain.classifier import ExplainClassifierConfig, explain_classifier
from spl.runs import read_run

MEASURES = {"top1": "top-1 %", "average_drop": "average drop %", "average_increase": "average increase %"}
ALONE = "alone"
Values = dict[str, dict[int, float]]  # measure -> seed -> value


class Setting(NamedTuple):
    """What the runs of one row have in common."""

    network: str
    how: str


def judge(folder: Path, config: ExplainClassifierConfig) -> tuple[int, dict[Setting, dict[str, float]]]:
    """Return a run's seed, and the measures of its classifier and of the peer, in percent."""
    run = read_run(TrainClassifierConfig, folder, RUNS)
    transfer = run.transfer
    how = f"{transfer.kind}, weight {transfer.weight:g}" if transfer.weight else ALONE
    folders, networks = [folder], [run.model.name]
    if transfer.peer is None:
        how = ALONE
    else:
        folders.append(folder / "peer")
        networks.append(f"{transfer.peer}, the peer")
    found = {}
    for place, network, row in zip(folders, networks, explain_classifier(folders, config).rows, strict=True):
        told = {"top1": 100 * read_result(place)["last"]["top1"], **row.measured.summary()}
        found[Setting(network, how)] = {name: told[name] for name in MEASURES}
    return run.seed, found


def table(found: dict[Setting, Values]) -> list[str]:
    """Return the lines of the table, the networks one after the other and each alone first."""
    rows = []
    for setting in sorted(found, key=lambda one: (one.network, one.how != ALONE, one.how)):
        values, baseline = found[setting], found.get(Setting(setting.network, ALONE), {})
        cells = [setting.network, setting.how, str(len(values["top1"]))]
        for name in MEASURES:
            numbers = list(values[name].values())
            spread = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
            cells.append(f"{statistics.fmean(numbers):.1f}{spread}")
        for name in ("average_drop", "average_increase"):
            difference = paired(values[name], baseline.get(name, {})) if setting.how != ALONE else None
            cells.append(signed(difference, 1))
        rows.append(cells)
    columns = ["network", "learned", "seeds", *MEASURES.values(), "drop to alone [95 %]"]
    return as_table([*columns, "increase to alone [95 %]"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--method", default="grad-cam")
    parser.add_argument("--num_measured", type=int, help="held-out images of each run; without: all")
    words = parser.parse_args()
    config = ExplainClassifierConfig(
        methods=(words.method,), num_measured=words.num_measured, num_steps=1, device="cpu"
    )
    found: dict[Setting, Values] = defaultdict(lambda: defaultdict(dict))
    for folder in words.runs:
        seed, judged = judge(folder, config)
        for setting, measures in judged.items():
            for name, value in measures.items():
                found[setting][name][seed] = value
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
