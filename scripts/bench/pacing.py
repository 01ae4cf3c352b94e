"""The cost of a curriculum in training a classifier or autoencoder: its share of an epoch's time.

The same training runs under each curriculum in turn, in one process. Timed are all that is asked of the
curriculum (whom an epoch has, what they weigh, taking in losses, keeping the round) and the epoch as a whole
with it. Printed are medians over the epochs after the first, and how much more a curriculum takes than none.

    python scripts/bench/pacing.py --epochs 6 --options --data.image_size 16
    python scripts/bench/pacing.py --of autoencoder --options --data recordings/pong,recordings/doom
"""

import argparse
import functools
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from rich.console import Console

from spl.classify import config as classifier
from spl.classify import curriculum as of_classifier
from spl.classify.train import train_classifier
from spl.config.parse import parse
from spl.pretrain import config as autoencoder
from spl.pretrain import curriculum as of_autoencoder
from spl.pretrain.train import pretrain_autoencoder
from spl.runs.logger import print_table
from timing import take_turns

ASKED = ("stretch", "weights", "see", "hand_over", "row", "keep")


class Clock:
    """Seconds inside the methods of a class, those called by one another counted once."""

    def __init__(self) -> None:
        self.seconds, self.is_inside = 0.0, False
        self.epochs: list[tuple[float, float]] = []  # seconds of an epoch, and those of the curriculum in it
        self.began = time.perf_counter()

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method whose seconds count; of an iterator those of its steps."""

        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            with self.inside():
                found = method(*args, **options)
            return self.steps(found) if isinstance(found, Iterator) else found

        return call

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count the time spent in here, unless it is counted already."""
        is_outermost, self.is_inside, started = not self.is_inside, True, time.perf_counter()
        try:
            yield
        finally:
            if is_outermost:
                self.is_inside = False
                self.seconds += time.perf_counter() - started

    def steps(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Yield what ``iterator`` does, its own time counted."""
        while True:
            with self.inside():
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def end_epoch(self) -> None:
        """Let the next epoch begin."""
        now = time.perf_counter()
        self.epochs.append((now - self.began, self.seconds))
        self.began, self.seconds = now, 0.0


def epochs_of(module: Any, train: Callable[..., Any], config: Any) -> np.ndarray[Any, Any]:
    """Return seconds of each epoch of a training and of its curriculum, ``(E, 2)``."""
    clock, kept = (
        Clock(),
        {name: getattr(module.Pacing, name) for name in ASKED if hasattr(module.Pacing, name)},
    )
    for name, method in kept.items():
        setattr(module.Pacing, name, clock.timed(method))
    ending = module.Pacing.keep  # comes last of an epoch

    def keep(*args: Any) -> None:
        ending(*args)
        clock.end_epoch()

    module.Pacing.keep = keep
    try:
        train(config, command=["bench"], console=Console(file=io.StringIO()))
    finally:
        for name, method in kept.items():
            setattr(module.Pacing, name, method)
    return np.array(clock.epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--of", choices=("classifier", "autoencoder"), default="classifier")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--curricula", nargs="*", default=["uniform", "self-paced"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of the training")
    args = parser.parse_args()
    config_class: Any = classifier.TrainClassifierConfig
    module: Any = of_classifier
    train: Any = train_classifier
    aliases = classifier.ALIASES
    if args.of == "autoencoder":
        config_class, aliases = autoencoder.PretrainConfig, autoencoder.ALIASES
        module, train = of_autoencoder, pretrain_autoencoder
    torch.set_num_threads(args.threads)

    def measure(name: str) -> np.ndarray[Any, Any]:
        with tempfile.TemporaryDirectory() as folder:
            fixed = ["--recipe.epochs", str(args.epochs), "--num_threads", str(args.threads)]
            words = [*fixed, "--curriculum.name", name, "--runs", folder, *args.options]
            config = parse(config_class, words, prog="bench_pacing", aliases=aliases)
            return epochs_of(module, train, config)[1:]

    found = take_turns({name: functools.partial(measure, name) for name in args.curricula}, args.repeats)
    medians = {name: np.median(np.concatenate(epochs), axis=0) for name, epochs in found.items()}
    least = medians[args.curricula[0]][1]
    rows = [
        [name, f"{whole:.3f}", f"{1000 * own:.2f}", f"{own / whole:.2%}", f"{(own - least) / whole:+.2%}"]
        for name, (whole, own) in medians.items()
    ]
    title = f"{args.of}, {args.threads} thread, medians of {args.repeats} x {args.epochs - 1} epochs"
    columns = ["curriculum", "s an epoch", "ms in the curriculum", "share", f"more than {args.curricula[0]}"]
    print_table(title, columns, rows)


if __name__ == "__main__":
    main()
