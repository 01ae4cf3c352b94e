"""Several runs that differ in their seed pooled into one: means with intervals over the runs."""

from collections.abc import Sequence
from typing import Any

from spl.ablation.statistics import interval
from spl.config.errors import UsageError


def pool(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what `evaluate_autoencoder` returned of several runs as one such result.

    Errors and accuracies are means with the 95 % interval of Student's t over the runs, recalls are means.

    Raises:
        UsageError: if the runs were not judged by the same samples.
    """
    first = results[0]
    for one in results[1:]:
        if (one["data"], one["samples"]) != (first["data"], first["samples"]):
            raise UsageError(
                f"{one['run']} was evaluated on other samples ({one['samples']:,} of {one['data']}) than "
                f"{first['run']} ({first['samples']:,} of {first['data']}); give --data"
            )
    found = {"runs": [one["run"] for one in results], "data": first["data"], "samples": first["samples"]}
    found["files"] = first["files"]
    for kind in ("reconstruction", "reconstruction_against"):
        if kind in first:
            found[kind] = {
                condition: {name: _over([one[kind][condition][name] for one in results]) for name in errors}
                for condition, errors in first[kind].items()
            }
    if "against" in first:
        found["against"] = first["against"]
    found["retrieval"], found["probe"] = dict(first["retrieval"]), dict(first["probe"])
    if "left_out" not in first["retrieval"]:
        for way in ("video to audio", "audio to video"):
            recalls = [one["retrieval"][way] for one in results]
            means = {k: sum(one[k] for one in recalls) / len(recalls) for k in recalls[0]}
            found["retrieval"][way] = means
    if "left_out" not in first["probe"]:
        accuracies = [one["probe"]["accuracy"] for one in results]
        found["probe"]["accuracy"] = {
            name: {pair: _over([one[name][pair]["mean"] for one in accuracies]) for pair in many}
            for name, many in first["probe"]["accuracy"].items()
        }
    return found


def _over(values: list[float | None]) -> dict[str, float | None]:
    """Return mean and interval; of none where a run has none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "low": None, "high": None}
    return interval(known)._asdict()
