"""The cost of a map: each method on a batch against one forward and backward pass of the same batch.

The pass beside it is that of training without the step: forward, backward to all weights. In every
repetition each contender is timed in turn, in a new random order, so that noise hits all alike; medians, and
their ratio to the pass. Grad-CAM is to stay within 2.2 of it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.models.image.network_table import RESNETS
from spl.models.image.resnet import build_resnet
from spl.saliency import METHODS, chosen
from timing import median_seconds

BOUND = 2.2  # of Grad-CAM to a pass forward and backward


def forward_and_backward(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Run one pass as training does, in evaluation mode as maps do."""
    model.zero_grad()
    functional.cross_entropy(model(images), labels).backward()


def main() -> None:
    """Print a line a method, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet20", choices=list(RESNETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--methods", nargs="+", default=["grad-cam", "grad-cam++", "layer-cam"], choices=METHODS
    )
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build_resnet(args.model, num_classes=10).to(args.device).eval()
    size, layer = RESNETS[args.model].image_size, f"layer{model.num_stages}"
    images = torch.randn(args.batch, 3, size, size, device=args.device)
    labels = torch.randint(0, 10, (args.batch,), device=args.device)
    calls: dict[str, Callable[[], Any]] = {"pass": lambda: forward_and_backward(model, images, labels)}
    for name in args.methods:
        calls[name] = lambda name=name: METHODS[name](model, layer, images, chosen(labels))
    found = median_seconds(calls, args.repetitions, device=args.device, num_threads=args.threads)
    print(f"{args.model}, {args.batch} x 3 x {size} x {size}, {args.device}, {args.threads} threads")
    for name, seconds in found.items():
        print(f"{name:22} {1e3 * seconds:9.1f} ms   {seconds / found['pass']:6.2f} x a pass")
    ratio = found["grad-cam"] / found["pass"] if "grad-cam" in found else None
    if ratio is not None:
        print(f"grad-cam at {ratio:.2f}: {'kept' if ratio <= BOUND else 'MISSED'}, the bound is {BOUND}")
    if args.out is not None:
        args.out.write_text(json.dumps({"settings": vars(args) | {"out": str(args.out)}, "seconds": found}))


if __name__ == "__main__":
    main()
