"""Plot training returns of our runs and of ``baseline_sb3.py`` against steps, with a random agent's level.

python scripts/figures/plot_returns.py --ours RUN/metrics.jsonl --sb3 FOLDER/episodes.jsonl --out pong.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and returns of the training episodes in a file of JSON lines, ours or the peer's."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(row["step"], row.get("return", row.get("rollout/episode_return"))) for row in rows]
    steps, returns = zip(*[pair for pair in told if pair[1] is not None], strict=True)
    return np.array(steps), np.array(returns, dtype=float)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of the last ``width`` values at each position (of fewer at the start)."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, nargs="*", default=[], help="metrics.jsonl of runs")
    parser.add_argument("--sb3", type=Path, nargs="*", default=[], help="episodes.jsonl of the peer")
    parser.add_argument("--random", type=float, help="a random agent's mean return")
    parser.add_argument("--title", default="ALE/Pong-v5")
    parser.add_argument("--width", type=int, default=5, help="episodes in the running mean")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, paths, color in (
        ("spl: video and audio", args.ours, "tab:blue"),
        ("Stable-Baselines3 DQN", args.sb3, "tab:orange"),
    ):
        for position, path in enumerate(paths):
            steps, returns = read(path)
            axes.plot(steps, returns, ".", color=color, alpha=0.3, markersize=4)
            axes.plot(steps, smooth(returns, args.width), color=color, label=None if position else name)
    if args.random is not None:
        axes.axhline(args.random, color="grey", linestyle=":", label="random actions")
    axes.set(xlabel="steps (agent decisions)", ylabel="return of training episodes", title=args.title)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
