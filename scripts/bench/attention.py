"""Every attention module: time forward, time forward and backward, and peak memory, against a baseline.

Baselines do the same work: timm's SE, ECA and CBAM (with batch normalization, which timm's always has),
position attention with its map written out, our CBAM for HAM. In every repetition each contender is timed in
turn, in an order drawn again; medians, and ours over the baseline's (below 1 is better).
Forward alone is without gradients. Peak memory is what the process grows by (on CUDA: what torch allocates
at most) beyond input, gradient and weights. ``--memory`` follows position attention to 128 x 128, each point
in a process of its own; ``--network`` trains ResNet-18 with each module and without. Extra: dev, for timm.
"""

import argparse
import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contenders.attention import ALIKE, BASELINES
from spl.attention import ATTENTION
from timing import median_seconds, memory_bytes, run_only

SHAPES = [(32, 64, 56, 56), (32, 256, 14, 14), (4, 256, 56, 56)]
SIDES = [16, 32, 48, 64, 96, 128]  # of --memory, with one picture of 64 channels
MODES = ("forward", "forward+backward")
Row = dict[str, Any]


def build(name: str, which: str, channels: int) -> nn.Module:
    """Return our module, or its baseline."""
    if which == "peer":
        return BASELINES[name][1](channels)
    return ATTENTION[name](channels, **ALIKE.get(name, {}))


def work(module: nn.Module, x: Tensor, gradient: Tensor, mode: str) -> None:
    """Run ``module`` once on ``x (B, C, H, W)``; with backward, from ``gradient`` of its output."""
    if mode == "forward":
        with torch.no_grad():
            module(x)
    else:
        x.grad = None
        module(x).backward(gradient)


def inputs(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    """Return an input that wants a gradient, and a gradient of the output, ``(B, C, H, W)`` each."""
    return torch.randn(shape, device=device, requires_grad=True), torch.randn(shape, device=device)


def medians(calls: dict[str, Callable[[], Any]], args: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of each call, within the budget of a row."""
    settings = {"device": args.device, "num_threads": args.threads, "budget_s": args.budget_s}
    return median_seconds(calls, args.repetitions, **settings)


def peak_bytes(name: str, which: str, shape: tuple[int, ...], mode: str, device: str) -> int:
    """Return the bytes that one pass takes at its peak beyond input, gradient and weights."""
    module = build(name, which, shape[1]).to(device)
    small = (1, shape[1], 8, 8)
    for _ in range(2):  # what libraries take once is not the module's
        work(module, *inputs(small, device), mode)
    return growth(module, *inputs(shape, device), mode)


def keep_freed_memory() -> None:
    """Have what was freed wait to be used again, as on CUDA: else page faults decide, by chance.

    What takes much memory then pays for it once only. ``--fresh_memory`` has it pay each time.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is a mapping of its own, which is new each time
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: the heap does not shrink


def growth(module: nn.Module, x: Tensor, gradient: Tensor, mode: str) -> int:
    """Return the bytes that `work` takes at its peak beyond those that are taken already."""
    x.grad = None
    module.zero_grad()
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work(module, x, gradient, mode)
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not there to be used again
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = memory_bytes("VmHWM")
    work(module, x, gradient, mode)
    return memory_bytes("VmHWM") - before


def peak_in_a_process(name: str, which: str, shape: tuple[int, ...], mode: str, device: str) -> float:
    """Return `peak_bytes` in MiB, from a process of its own."""
    point = json.dumps({"name": name, "which": which, "shape": shape, "mode": mode, "device": device})
    num_bytes: int = run_only([__file__, "--only", point])
    return num_bytes / 2**20


def measure_module(name: str, shape: tuple[int, ...], args: argparse.Namespace) -> list[Row]:
    """Return one row for each mode, plain and compiled."""
    rows: list[Row] = []
    contenders = ["ours", "peer"] if name in BASELINES else ["ours"]
    x, gradient = inputs(shape, args.device)
    modules = {which: build(name, which, shape[1]).to(args.device) for which in contenders}
    for is_compiled in [False, True] if args.compile else [False]:
        if is_compiled:
            torch.compiler.reset()
            modules = {which: torch.compile(module, dynamic=False) for which, module in modules.items()}  # type: ignore[misc]
        for mode in MODES:
            calls = {which: partial(work, module, x, gradient, mode) for which, module in modules.items()}
            seconds = medians(calls, args)
            row: Row = {"module": name, "shape": shape, "mode": mode, "is_compiled": is_compiled}
            row |= {"peer": BASELINES[name][0] if name in BASELINES else None}
            row |= {f"{which}_ms": 1e3 * value for which, value in seconds.items()}
            if not is_compiled:
                grown = {which: growth(module, x, gradient, mode) for which, module in modules.items()}
                row |= {f"{which}_mib": value / 2**20 for which, value in grown.items()}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    return rows


def measure_memory(args: argparse.Namespace) -> list[Row]:
    """Return the peak memory of position attention against the number of positions."""
    rows: list[Row] = []
    for side in SIDES:
        for mode in MODES:
            row: Row = {
                "module": "sam",
                "shape": (1, 64, side, side),
                "mode": mode,
                "peer": BASELINES["sam"][0],
            }
            for which in ("ours", "peer"):
                row[f"{which}_mib"] = peak_in_a_process("sam", which, row["shape"], mode, args.device)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    return rows


def measure_network(args: argparse.Namespace) -> list[Row]:
    """Return the training images a second of ResNet-18 with each module and without."""
    from spl.models.image.resnet import build_resnet

    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size, device=args.device)
    labels = torch.randint(1_000, (args.batch_size,), device=args.device)

    def updates_of(name: str) -> Callable[[], None]:
        torch.manual_seed(0)
        network = build_resnet("resnet18", num_classes=1_000, attention=name).to(args.device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

        def update() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

        return update

    rows = []
    for name in [name for name in args.names if name != "none"]:  # with and without take turns
        calls = {"ours": updates_of(name), "peer": updates_of("none")}
        seconds = medians(calls, args)
        rates = {f"{which}_images_per_second": args.batch_size / value for which, value in seconds.items()}
        rows.append({"module": name, "shape": tuple(images.shape), **rates})
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(row: Row, unit: str) -> list[str]:
    """Return ours, the baseline's, and ours over the baseline's, as they are printed."""
    ours, peer = row.get(f"ours_{unit}"), row.get(f"peer_{unit}")
    if ours is None:
        return ["", "", ""]
    if not peer:
        return [f"{ours:,.1f}", "", ""]
    return [f"{ours:,.1f}", f"{peer:,.1f}", f"{ours / peer:.2f}"]


def print_found(found: dict[str, list[Row]]) -> None:
    """Print what was found as Markdown tables."""
    for title, rows in found.items():
        if title == "network":
            head = ["module", "images", "images/s", "without", "ratio"]
            lines = [
                [row["module"], " x ".join(map(str, row["shape"])), *cell(row, "images_per_second")]
                for row in rows
            ]
        else:
            head = ["module", "shape", "mode", "peer", "ms", "peer ms", "ratio", "MiB", "peer MiB", "ratio"]
            lines = [
                [
                    row["module"] + (" compiled" if row.get("is_compiled") else ""),
                    " x ".join(map(str, row["shape"])),
                    row["mode"],
                    row["peer"] or "",
                    *cell(row, "ms"),
                    *cell(row, "mib"),
                ]
                for row in rows
            ]
        print(f"\n{title.capitalize()}\n\n{table(head, lines)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="*", choices=ATTENTION, default=[*ATTENTION])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--budget_s", type=float, default=10.0, help="of one row, past five repetitions")
    parser.add_argument("--fresh_memory", action="store_true", help="leave the allocator as it is")
    parser.add_argument("--compile", action="store_true", help="each module compiled, too")
    parser.add_argument("--memory", action="store_true", help="of position attention, against H x W")
    parser.add_argument("--network", action="store_true", help="train ResNet-18 with each module")
    parser.add_argument("--batch_size", type=int, default=8, help="of --network")
    parser.add_argument("--image_size", type=int, default=224, help="of --network")
    parser.add_argument("--out", type=Path, help="also write every row there, as JSON")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # what the processes are started with
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only is not None:
        print(peak_bytes(**json.loads(args.only)))
        return
    if args.compile and args.device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        print("Nothing is compiled: torch.compile needs a C++ compiler on the CPU, and there is none.")
        args.compile = False
    found: dict[str, list[Row]] = {}
    if args.memory:
        found["memory"] = measure_memory(args)
    elif args.network:
        found["network"] = measure_network(args)
    else:
        if not args.fresh_memory:
            keep_freed_memory()
        names = [name for name in args.names if name != "none"]
        found["modules"] = [
            row for shape in SHAPES for name in names for row in measure_module(name, shape, args)
        ]
    if args.out is not None:
        told = {"options": vars(args) | {"out": None}, "torch": torch.__version__, "found": found}
        args.out.write_text(json.dumps(told, indent=2) + "\n")
    print_found(found)


if __name__ == "__main__":
    main()
