"""How many filters of an agent's video stream respond to anything it sees, and how constantly.

The agent plays 1,000 steps with an epsilon of 0.01, and every fourth stack of pictures goes through its
convolutions. A filter responds if it is above 0 at any place of any of them. The constant share of a layer is
that of the power of its responses (their mean square) which does not change from picture to picture at the
same place.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from spl.ablation.tables import as_table
from spl.agents.dqn import MultimodalDqn
from spl.agents.history import History
from spl.agents.load import load_agent
from spl.envs.adapter import AudioVisualEnv
from spl.models.streams import VideoStream

NUM_STEPS = 1_000  # that are played


def told_of(responses: Tensor) -> tuple[int, float]:
    """Return how many of the filters respond, and the constant share of their power, of ``(B, C, H, W)``."""
    num_responding = int((responses > 0).any(dim=0).flatten(1).any(dim=1).sum())
    power = float(responses.square().mean())
    return num_responding, 1 - float(responses.var(dim=0, correction=0).mean()) / power if power else 1.0


def pictures_of(agent: MultimodalDqn, env: AudioVisualEnv, history: int) -> Tensor:
    """Return every fourth stack of pictures ``(B, T, C, H, W)`` that the agent sees in `NUM_STEPS`."""
    stacks, found, is_over = History(env.spec_of_streams, history=history), [], True
    for step in range(NUM_STEPS):
        if is_over:
            observation, _ = env.reset(seed=step)
        stacks.push(observation, is_first=env.begins)
        if step % 4 == 0:
            found.append(stacks.stack().video)
        (action,) = stacks.act(agent, 0.01)
        observation, _, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
    env.close()
    return torch.cat(found)


@torch.no_grad()
def judge(run: Path) -> list[str]:
    """Return a row of the table: the run, its steps, and each convolution's filters and constant share."""
    agent, make, history, step = load_agent(run, "cpu")
    stream = agent.network.encoder.video
    if not isinstance(stream, VideoStream):
        raise SystemExit(f"{run} has no convolutions of video: give a run with --encoder.video_stream small")
    video, cells = pictures_of(agent, make(), history), []
    x = video.flatten(1, 2)
    for layer in stream.convs:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            responding, constant = told_of(x)
            cells.append(f"{responding} of {x.shape[1]}, {100 * constant:.0f} %")
    return [run.name, f"{step:,}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="of spl train agent, with three convolutions")
    rows = [judge(run) for run in parser.parse_args().runs]
    layers = [f"layer {number}: filters, constant" for number in range(1, max(map(len, rows)) - 1)]
    print("\n".join(as_table(["run", "steps", *layers], rows)))


if __name__ == "__main__":
    main()
