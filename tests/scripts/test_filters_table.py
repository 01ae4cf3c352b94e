"""``scripts/figures/filters_table.py``: which filters respond, and what is constant, by hand and of a run."""

import runpy
from pathlib import Path

import pytest
import torch
from rich.console import Console

from spl.agents.train import train_agent

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "figures" / "filters_table.py"))


def test_filters_that_respond_and_what_is_constant_by_hand():
    responses = torch.zeros(2, 3, 1, 2)
    responses[:, 0, 0, 0] = 2.0  # always: all constant
    assert SCRIPT["told_of"](responses) == (1, pytest.approx(1.0))
    responses[0, 2, 0, 1] = 2.0  # once in two: of its power 4 / 2 the mean's is 1
    assert SCRIPT["told_of"](responses) == (2, pytest.approx((4 + 1) / (4 + 2)))
    assert SCRIPT["told_of"](torch.zeros(2, 3, 1, 2)) == (0, 1.0)


@pytest.mark.parametrize("standardise", ["false", "true"])
def test_a_row_of_a_run(smoke, standardise):
    config = smoke("--num_steps", "40", "--encoder.standardise_video", standardise)
    run = train_agent(config, console=Console(quiet=True)).folder
    name, step, *layers = SCRIPT["judge"](run)
    assert (name, step, len(layers)) == (run.name, "40", 3)
    assert layers[0].split(" of ")[1].startswith("16, ")
