"""What a choice rests on: counted by hand on a network whose action is known for every pair of inputs."""

from types import SimpleNamespace

import torch
from rich.console import Console

from spl.agents.evaluation.choice import Streams, changes, played_moments, spread, together
from spl.agents.load import load_agent
from spl.agents.train import train_agent


class Encoder:
    def gated(self, features, present):
        return tuple(None if one is None else one * present[:, [place]] for place, one in enumerate(features))


class Heads:
    """Two actions: the second where ``weights`` times video and audio is above 0."""

    def __init__(self, *weights, bias=0.0):
        self.weights, self.bias = weights, bias

    def values(self, encoder, features, present, beside):
        total = self.bias + sum(
            w * one[:, 0] for w, one in zip(self.weights, features, strict=True) if one is not None
        )
        total = total if beside is None else total + beside
        return [torch.stack([torch.zeros_like(total), total], dim=1)]

    def fused(self, values, present):
        return values[0]


def agent_of(*weights, bias=0.0):
    heads = Heads(*weights, bias=bias)
    network = SimpleNamespace(encoder=Encoder(), heads=heads, sizes=(2,), beside=lambda state: None)

    def values_of(features, present, state, recurrent):
        return heads.values(network.encoder, features, present, network.beside(state))

    network.values_of = values_of
    return SimpleNamespace(network=network, device="cpu")


def streams(video, audio, present=None):
    flags = torch.ones(len(video), 2, dtype=torch.bool) if present is None else torch.tensor(present)
    heard = None if audio is None else torch.tensor(audio)[:, None]
    return Streams(torch.tensor(video)[:, None], heard, flags, torch.zeros(len(video), 0))


MOMENTS = streams([1.0, -1.0, -1.0, -1.0], [1.0, 1.0, -1.0, -1.0])


def test_what_is_not_read_changes_nothing_and_what_is_changes_as_often_as_it_differs():
    mine = streams([1.0, -1.0], [1.0, 1.0])
    assert changes(agent_of(1.0, 0.0), mine, MOMENTS).tolist() == [[0.75, 0.0, 0.75], [0.25, 0.0, 0.25]]
    assert changes(agent_of(0.0, 1.0), mine, MOMENTS).tolist() == [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]


def test_two_that_say_the_same_change_it_together_only():
    same = streams([1.0, -1.0], [1.0, -1.0])  # 2 v + 2 a + 1: one of them reversed leaves 1, above 0
    first = same.take(torch.tensor([0]))
    assert changes(agent_of(2.0, 2.0, bias=1.0), first, same).tolist() == [[0.0, 0.0, 0.5]]


def test_a_modality_that_is_absent_in_either_moment_changes_nothing_or_is_absent_then():
    agent, deaf = agent_of(0.0, 1.0, bias=0.5), streams([1.0], [-1.0], [[True, False]])
    # 0.5 without sound; with it -0.5 in half of the moments
    assert changes(agent, deaf, MOMENTS).tolist() == [[0.0, 0.0, 0.0]]
    assert changes(agent, MOMENTS.take(torch.tensor([0])), deaf).tolist() == [[0.0, 0.0, 0.0]]
    assert changes(agent, MOMENTS.take(torch.tensor([0])), MOMENTS).tolist() == [[0.0, 0.5, 0.5]]


def test_what_is_swapped_goes_with_what_stays(monkeypatch):
    monkeypatch.setattr("spl.agents.evaluation.choice.NUM_COMPARED", 1)
    mine = streams([1.0], [1.0])
    for audio, expected in ((-1.0, 1.0), (2.0, 0.0)):
        moments = streams([-1.0, 1.1], [-audio, audio])  # the second looks alike
        assert changes(agent_of(0.0, 1.0), mine, moments)[0, 1] == expected
    for video, expected in ((-1.0, 1.0), (2.0, 0.0)):
        moments = streams([-video, video], [-1.0, 1.1])  # the second sounds alike
        assert changes(agent_of(1.0, 0.0), mine, moments)[0, 0] == expected


def test_a_state_of_another_moment_is_a_fourth_column(monkeypatch):
    monkeypatch.setattr("spl.agents.evaluation.choice.NUM_COMPARED", 1)
    agent = agent_of(0.0, 0.0)
    agent.network.beside = lambda state: state[:, 0]
    mine, moments = streams([1.0], [1.0]), streams([5.0, 1.1], [1.0, 1.0])
    mine = mine._replace(state=torch.tensor([[1.0]]))
    for felt, expected in ((-1.0, 1.0), (2.0, 0.0)):
        of_alike = moments._replace(state=torch.tensor([[-felt], [felt]]))  # the second looks alike
        found = changes(agent, mine, of_alike)
        assert found.tolist() == [[0.0, 0.0, 0.0, expected]]


def test_moments_are_evenly_spread_and_joined():
    joined = together([streams([0.0, 1.0, 2.0], None), streams([3.0, 4.0], None)])
    assert joined.audio is None
    assert spread(joined, 3).video[:, 0].tolist() == [0.0, 2.0, 4.0]
    assert len(spread(joined, 9).present) == 5


def test_moments_are_played_the_same_by_the_same_seed(smoke):
    folder = train_agent(smoke("--num_steps", "40"), console=Console(quiet=True)).folder
    agent, make, history, _ = load_agent(folder, "cpu")
    one, other, third = (played_moments(agent, make, history, seed) for seed in (3, 3, 4))
    assert len(one.present) == 256
    assert torch.equal(one.video, other.video)
    assert not torch.equal(one.video, third.video)
