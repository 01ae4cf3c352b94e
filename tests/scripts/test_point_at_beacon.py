"""``scripts/figures/point_at_beacon.py``: what counts as a hit, and whose maps it takes."""

import runpy
from pathlib import Path

import torch
from rich.console import Console

from spl.agents.evaluation.explain import played
from spl.agents.history import Stack
from spl.agents.load import load_agent
from spl.agents.train import train_agent
from spl.explain.two_streams import AsPictures, as_pictures
from spl.saliency import advantage, grad_cam

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "figures" / "point_at_beacon.py"))


def test_the_middle_of_the_highest_places_must_lie_on_the_blob():
    maps, blobs = torch.zeros(4, 5, 5), torch.zeros(4, 5, 5, dtype=torch.bool)
    blobs[:, 2, 2] = True
    maps[0, 2, 2] = 1
    maps[1, 1:4, 1:4] = 1  # its middle
    maps[2, 2, 3], maps[2, 2, 2] = 1, 0.9
    assert SCRIPT["hits"](maps, blobs).tolist() == [True, True, False, False]  # the last is even


def test_maps_are_those_of_the_explanation_and_lie_elsewhere_when_spread_evenly(smoke):
    config = smoke("--env.kwargs.sense", "eye", "--num_steps", "40", "--seed", "2")
    folder = train_agent(config, console=Console(quiet=True)).folder
    agent, make, history, _ = load_agent(folder, "cpu")
    env = make()
    stacks, _ = played(agent, env, history, 3)
    env.close()
    stack = Stack.of(stacks)
    model, inputs = AsPictures(agent.network, history), as_pictures(*stack)
    actions = agent.network(*stack).argmax(dim=1)
    expected, _ = grad_cam(model, model.layers, inputs, advantage(actions))
    placed, even = SCRIPT["maps_of"](agent, stack, history)
    assert expected.any()
    torch.testing.assert_close(placed, expected)
    assert (placed - even).abs().max() > 0.1
