"""Compiling a function for its device, or saying in one sentence why that is impossible."""

import os
import shutil
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R], device: torch.device) -> Callable[P, R]:
    """Return ``function`` compiled by ``torch.compile`` for fixed shapes; the first call takes a minute.

    On CUDA as graphs, so that an update is launched at once and not kernel by kernel.

    Raises:
        ValueError: on the CPU, if there is no C++ compiler.
    """
    if device.type == "cuda":
        replay: Callable[P, R] = torch.compile(function, dynamic=False, mode="reduce-overhead")

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            # what the last call returned may be overwritten
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return replay(*args, **kwargs)

        return call
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        raise ValueError(
            f"compile needs a C++ compiler on the CPU, found none of {', '.join(compilers)}; "
            "install g++, or leave compile out"
        )
    result: Callable[P, R] = torch.compile(function, dynamic=False)
    return result
