"""The tables of ``board.py``: what its cells came to."""

import itertools
import json
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spl.agents.evaluation.returns import bootstrap_interval, interquartile_mean

AGENTS = {
    "spl": "spl",
    "spl-whole": "spl, nothing hidden",
    "spl-fast": "spl, fast",
    "spl-deaf": "spl, sound off",
    "dqn": "DQN (Stable-Baselines3)",
    "qr-dqn": "QR-DQN (sb3-contrib)",
}
PEERS = ("dqn", "qr-dqn")
DEAF = "spl-deaf"  # trained without sound
EQUAL = "spl-whole"  # learns under the conditions of the peers
FAST = "spl-fast"  # so does this, with smaller streams: what the peers are compared with
FAST_OPTIONS = (
    *("--encoder.video_stream", "small-pooled", "--encoder.attention", "none"),
    *("--encoder.audio_stream", "mlp", "--agent.double", "false"),
)
RECENT = 20  # training episodes over which a return is told
INTRODUCTION = f"""# A board of hearing

What sound adds to the return, and how fast each agent learns. One script runs everything and keeps finished
runs (extras: atari, doom, bench):

```bash
python scripts/bench/board.py --out docs/data/board --seeds 0-2 \\
    --tasks Greeting Pendulum Hyperhot VizdoomBasicAudio Pong Breakout \\
    --table docs/board.md --picture docs/images/board.png
```

All agents get the same observations, and share the discount, the scale and the clipping of rewards, the
history, the exploration, the number of updates and the batch size of our preset. All other settings of the
peers are those of RL Baselines3 Zoo for Atari: Nature CNN, one-step returns, Adam at 1e-4.

`spl` is our preset: it learns each transition from both modalities and from each one alone, and one modality
may be hidden while it acts. *Nothing hidden* is the same agent without both (`--agent.thirds none
--agent.modality_dropout 0`), which learns under the conditions of the peers. *Fast* is nothing hidden with
smaller streams and one pass of the next observations instead of two (`{" ".join(FAST_OPTIONS[:4])}
{" ".join(FAST_OPTIONS[4:])}`).
Both games have `--config atari`; `--config breakout`, with twice the updates, earns more
([results](results.md#one-change-at-a-time)).

- *Return*: interquartile mean of 20 greedy episodes per seed, with a bootstrap interval over episodes within
  seeds. The interval describes these runs, not other seeds.
- *At equal CPU seconds*: mean of the last 20 training episodes, exploration included, at the time when the
  fastest agent finished.
- *Ours to its return*: CPU seconds until the training return of our fast agent reaches the peer's final one,
  as a share of the CPU seconds that the peer needs, seed by seed.
- *Video only*, *audio only*: share of the gain over random actions that is retained when the other modality
  is absent from the first step on.
"""
IN_SHORT = """Our fast agent compared with each peer: training returns when the first of the three
finished, and *ours to its return*, the median over seeds.
"""
HEAD = ["agent", "return, IQM [95 %]", "each seed", "at equal CPU seconds", "CPU s", "ours to its return"]
HEAD += ["video only", "audio only"]
SHORT = ["task", "spl, fast", "DQN", "QR-DQN", "ours to DQN's return", "ours to QR-DQN's return"]


def cells_of(out: Path) -> list[dict[str, Any]]:
    """Return all cells that ``board.py`` left in ``out``."""
    return [json.loads(one.read_text()) for one in sorted(out.glob("*/*/seed-*.json"))]


def recent(curve: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean return of the last `RECENT` training episodes after each episode."""
    returns = [row[2] for row in curve]
    return [statistics.fmean(returns[max(0, end - RECENT) : end]) for end in range(1, len(returns) + 1)]


def return_at(cell: dict[str, Any], cpu_s: float) -> float:
    """Return the training return of a cell after so many CPU seconds; NaN before its first episode."""
    curve = cell["curve"]
    count = sum(row[1] <= cpu_s for row in curve)
    return recent(curve)[count - 1] if count else float("nan")


def seconds_to(cell: dict[str, Any], value: float) -> float:
    """Return the CPU seconds after which the training return of ``RECENT`` episodes first is ``value``."""
    for row, mean in list(zip(cell["curve"], recent(cell["curve"]), strict=True))[RECENT - 1 :]:
        if mean >= value:
            return float(row[1])
    return float("inf")


def retained(cells: list[dict[str, Any]], condition: str) -> str:
    """Return what share of the gain over random actions a condition leaves, mean over cells, as a cell."""
    shares = []
    for cell in cells:
        means = {name: statistics.fmean(values) for name, values in cell["returns"].items()}
        if condition not in means or means["all"] <= means["random"]:
            return "-"
        shares.append((means[condition] - means["random"]) / (means["all"] - means["random"]))
    return f"{100 * statistics.fmean(shares):.0f} %"


def shares_of_time(ours: list[dict[str, Any]], peers: list[dict[str, Any]]) -> list[float]:
    """Return our CPU seconds to each peer's final training return, as shares of its own, seed by seed.

    Infinity where ours never is that high.
    """
    by_seed = {one["seed"]: one for one in ours}
    pairs = [(by_seed[one["seed"]], one) for one in peers if one["seed"] in by_seed]
    finals = [recent(peer["curve"])[-1] for _, peer in pairs]
    return [
        seconds_to(one, final) / seconds_to(peer, final)
        for (one, peer), final in zip(pairs, finals, strict=True)
    ]


def in_short(cells: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each task on which ours meets a peer, and one of the median task."""
    medians: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for task, of_task in itertools.groupby(cells, key=lambda one: one["task"]):
        found = {name: [] for name in (FAST, *PEERS)} | by_agent(of_task)
        shares = {peer: shares_of_time(found[FAST], found[peer]) for peer in PEERS}
        if not any(shares.values()):
            continue
        least = min(one["curve"][-1][1] for name in (FAST, *PEERS) for one in found[name])
        early = [[return_at(one, least) for one in found[name]] for name in (FAST, *PEERS)]
        for peer, values in shares.items():
            medians[peer] += [statistics.median(values)] if values else []
        yield [task, *(_number(values) for values in early), *(_share(values) for values in shares.values())]
    yield ["*the median task*", "", *[""] * len(PEERS), *(_share(values) for values in medians.values())]


def by_agent(cells: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the cells of each agent, in the order of `AGENTS`."""
    cells = list(cells)
    found = {name: [one for one in cells if one["agent"] == name] for name in AGENTS}
    return {name: ones for name, ones in found.items() if ones}


def rows_of(cells: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each agent of one task."""
    by_name = by_agent(cells)
    least = min(one["curve"][-1][1] for one in cells)  # CPU seconds that all have
    for name, found in by_name.items():
        returns = np.array([one["returns"]["all"] for one in found])
        low, high = bootstrap_interval(returns, np.random.default_rng(0))
        shares = shares_of_time(by_name.get(FAST, []), found) if name in PEERS else []
        yield [
            AGENTS[name],
            f"{interquartile_mean(returns):.2f} [{low:.2f}, {high:.2f}]",
            " ".join(f"{row.mean():.2f}" for row in returns),
            _number([return_at(one, least) for one in found]),
            f"{statistics.fmean(one['curve'][-1][1] for one in found):.0f}",
            " ".join(map(_times, shares)) or "-",
            retained(found, "video only"),
            retained(found, "audio only"),
        ]


def write_table(out: Path, path: Path, commands: Mapping[str, str], picture: Path | None = None) -> None:
    """Write the tables of all cells in ``out`` to ``path``, each with the task's command, below a picture."""
    cells = cells_of(out)
    lines = [INTRODUCTION]
    if picture is not None:
        place = Path(os.path.relpath(picture, path.parent)).as_posix()
        lines += [f"![Returns while training, by steps and by CPU seconds]({place})", ""]
    lines += ["## In short", "", IN_SHORT, _line(SHORT), _line(["---"] * len(SHORT))]
    lines += [*map(_line, in_short(cells)), ""]
    for task, command in commands.items():
        of_task = [one for one in cells if one["task"] == task]
        if not of_task:
            continue
        chance = statistics.fmean(total for one in of_task for total in one["returns"]["random"])
        seeds = sorted({one["seed"] for one in of_task})
        lines += [f"## {task}", "", "```bash", f"{command} --seed S", "```", ""]
        lines += [
            f"{of_task[0]['num_steps']:,} steps, seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, seeds))}, one thread of "
            f"{of_task[0]['processor']}; random actions earn {chance:.2f}.",
            "",
            _line(HEAD),
            _line(["---"] * len(HEAD)),
        ]
        lines += map(_line, rows_of(of_task))
        lines.append("")
    path.write_text("\n".join(lines))


def _number(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f}" if values else "-"


def _share(values: Sequence[float]) -> str:
    return _times(statistics.median(values)) if values else "-"


def _times(share: float) -> str:
    return "never" if math.isinf(share) else f"{share:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
