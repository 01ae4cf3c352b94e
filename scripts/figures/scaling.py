"""Draw how many steps a second a run with collectors makes, from constants that were measured.

With ``N`` collectors, whose environments take ``s`` seconds a step, and a learner that takes ``a`` seconds to
put a step into the memory and ``u`` seconds for each of ``r`` updates a step, the run makes
``min(N / s, 1 / (a + r u), network)`` steps a second. The network carries the bytes of each step to the
learner, and from it the weights to each machine, at most once a chunk of each of its collectors.

    python scripts/figures/scaling.py docs/images/collectors.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

STEP_S = (
    1 / 38.4
)  # of one collector: 20 ms asleep, the rest acting, preprocessing and waiting on a busy machine
ADD_S = 1 / 22_500  # of the learner's thread, to take a step out of a chunk and into the memory
STEP_BYTES, WEIGHT_BYTES = 8_184, 2_700_416  # 84 x 84 and 64 x 8; the default network
GIGABIT = 125e6  # bytes a second
LINES = {  # updates a step, seconds of an update, bytes a second of the network, steps of a chunk
    "33 updates/s (2 CPU cores), one every 4 steps": (0.25, 1 / 33, GIGABIT, 32),
    "300 updates/s, one every 4 steps": (0.25, 1 / 300, GIGABIT, 32),
    "no learning, 1 Gbit/s, chunks of 32": (0.0, 0.0, GIGABIT, 32),
    "no learning, 1 Gbit/s, chunks of 256": (0.0, 0.0, GIGABIT, 256),
    "no learning, 10 Gbit/s, chunks of 256": (0.0, 0.0, 10 * GIGABIT, 256),
}
MEASURED = {1: 38.4, 2: 79.6, 4: 146.7, 8: 278.3}  # steps/s, scripts/bench/cluster.py, an update in 16 steps


def steps_per_second(num: np.ndarray, rate: float, update_s: float, network: float, chunk: int) -> np.ndarray:
    """Return the steps a second of ``num`` collectors, each on a machine of its own."""
    learned = 1 / (ADD_S + rate * update_s)
    carried = min(network / STEP_BYTES, network * chunk / WEIGHT_BYTES)  # to the learner, and from it
    return np.minimum(num / STEP_S, min(learned, carried))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    num = np.geomspace(1, 1024, 300)
    for name, constants in LINES.items():
        axes.plot(num, steps_per_second(num, *constants), label=name)
    axes.plot(*zip(*MEASURED.items(), strict=True), "ko", label="measured, an update every 16 steps")
    axes.set(xscale="log", yscale="log", xlabel="collectors, 20 ms a step", ylabel="steps a second")
    axes.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1,024"])
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="upper left")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
