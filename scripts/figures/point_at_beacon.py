"""Whether an agent's maps point at what it acts on: the pointing game on ``spl/Beacon-v0``, ``sense=eye``.

There a bright blob alone tells what to do. Of every step that an agent plays, greedily, a map of the newest
picture (Grad-CAM of the chosen action's advantage, as ``spl explain agent`` makes it) counts as a hit where
its highest place lies on the blob; where it is as high in several, their middle counts. An even map is a
miss. The same maps are laid twice: where the layer's receptive fields have their centres, as all of ours are,
and spread evenly over the picture. Chance is the blob's share of the picture.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from spl.ablation.tables import as_table
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.explain import played
from spl.agents.history import Stack
from spl.agents.load import load_agent
from spl.eval_mode import borrowed
from spl.explain.two_streams import AsPictures, as_pictures
from spl.saliency import advantage
from spl.saliency.layers import features_and_scores, onto

BRIGHT = 128  # the blob is above it, all else below


def maps_of(agent: MultimodalDqn, stack: Stack, history: int) -> tuple[Tensor, Tensor]:
    """Return Grad-CAM of the newest pictures ``(B, H, W)``, laid by receptive fields and evenly."""
    model, inputs = AsPictures(agent.network, history), as_pictures(*stack)
    actions = agent.network(*stack).argmax(dim=1)
    with borrowed(model):
        (seen, _), scores = features_and_scores(model, (model.layers[0], None), inputs, advantage(actions))
        assert seen is not None
        features, placement = seen  # (B, C, h, w)
        (gradients,) = torch.autograd.grad(scores.sum(), features)
    cam = (gradients.mean(dim=(2, 3), keepdim=True) * features.detach()).sum(dim=1).relu()  # (B, h, w)
    size = inputs[0].shape[-2:]
    return onto(cam, size, placement), onto(cam, size)


def hits(maps: Tensor, blobs: Tensor) -> Tensor:
    """Return which of the maps ``(B, H, W)`` have their highest place on the blob ``(B, H, W)``: ``(B,)``."""
    found = []
    for one, blob in zip(maps, blobs, strict=True):
        row, column = (one > one.amax() - 1e-4).nonzero().float().mean(dim=0).round().long().tolist()
        found.append(bool(one.any() and blob[row, column]))
    return torch.tensor(found)


def judge(run: Path, num_episodes: int) -> list[str]:
    """Return a row of the table: the run, its steps, its hits both ways, and chance."""
    agent, make, history, _ = load_agent(run, "cpu")
    env, found = make(), []
    for number in range(num_episodes):
        stacks, _ = played(agent, env, history, 1_000_000 + number)
        stack = Stack.of(stacks)
        blobs = stack.video[:, -1, 0] > BRIGHT  # (B, H, W)
        placed, even = maps_of(agent, stack, history)
        found.append(torch.stack([hits(placed, blobs), hits(even, blobs), blobs.float().mean(dim=(1, 2))]))
    env.close()
    rates = torch.cat(found, dim=1)  # (3, steps)
    return [run.name, f"{rates.shape[1]}", *(f"{100 * share:.1f}" for share in rates.mean(dim=1).tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="of spl train agent --env.kwargs.sense eye")
    parser.add_argument("--num_episodes", type=int, default=8, help="of each run, 32 steps each")
    words = parser.parse_args()
    columns = ["run", "steps", "on the blob, by receptive fields %", "spread evenly %", "chance %"]
    print("\n".join(as_table(columns, [judge(run, words.num_episodes) for run in words.runs])))


if __name__ == "__main__":
    main()
