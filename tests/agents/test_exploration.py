"""The exploration schedule at its ends and between, and how often and how long a modality is taken away."""

import json
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.records import AUDIO, VIDEO, Observation

CASE = json.loads((Path(__file__).parents[1] / "data" / "mdqn.json").read_text())["epsilon"]


def observe() -> Observation:
    return Observation(
        np.full((1, 2, 2), 7, np.uint8), np.full((1, 2, 2), 0.5, np.float16), np.ones(2, np.bool_)
    )


def missing_of(observation: Observation) -> int | None:
    """Return the modality that is absent, after checking that it is blank and the other whole."""
    flags = observation.present.tolist()
    assert (observation.video == 7 * flags[VIDEO]).all()
    assert (observation.audio == 0.5 * flags[AUDIO]).all()
    assert any(flags)
    return None if all(flags) else flags.index(False)


def play(dropout: ModalityDropout, num_steps: int, episode_steps: int = 10**9) -> list[int | None]:
    whole = observe()
    return [missing_of(dropout(whole, is_first=step % episode_steps == 0)) for step in range(num_steps)]


def dropout_of(probability: float, mean_steps: float = 8.0, seed: int = 0) -> ModalityDropout:
    return ModalityDropout(probability, mean_steps, np.random.default_rng(seed))


@pytest.mark.parametrize(("step", "expected"), list(zip(CASE["t"], CASE["eps"], strict=True)))
def test_linear_epsilon_by_hand(step: int, expected: float) -> None:
    steps = {"warmup_steps": CASE["learn_start"], "decay_steps": CASE["endt"]}
    assert linear_epsilon(step, start=CASE["start"], end=CASE["end"], **steps) == pytest.approx(expected)


def test_linear_epsilon_moves_from_the_first_step_after_the_warmup_to_the_last() -> None:
    epsilons = [linear_epsilon(step, start=1.0, end=0.2, warmup_steps=3, decay_steps=4) for step in range(10)]
    assert epsilons == pytest.approx([1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_no_decay_is_a_step_after_the_warmup() -> None:
    epsilons = [linear_epsilon(step, start=1.0, end=0.2, warmup_steps=2, decay_steps=0) for step in range(4)]
    assert epsilons == [1.0, 1.0, 0.2, 0.2]


@pytest.mark.parametrize("episode_steps", [10**9, 20], ids=["one episode", "short episodes"])
@pytest.mark.parametrize(("probability", "mean_steps"), [(0.3, 8.0), (0.5, 1.0), (0.75, 3.0)])
def test_the_share_of_steps_without_a_modality(
    probability: float, mean_steps: float, episode_steps: int
) -> None:
    missing = play(dropout_of(probability, mean_steps), 15_000, episode_steps)
    shares = {modality: missing.count(modality) / len(missing) for modality in (VIDEO, AUDIO)}
    assert shares[VIDEO] + shares[AUDIO] == pytest.approx(probability, abs=0.04)
    assert shares[VIDEO] == pytest.approx(shares[AUDIO], abs=0.05)


@pytest.mark.parametrize("mean_steps", [1.0, 3.0, 8.0])
def test_the_mean_length_of_a_stretch(mean_steps: float) -> None:
    missing = play(dropout_of(0.3, mean_steps), 15_000)
    lengths = [
        len(list(run))
        for is_missing, run in groupby(modality is not None for modality in missing)
        if is_missing
    ]
    assert np.mean(lengths) == pytest.approx(mean_steps, rel=0.12)
    if mean_steps == 1.0:
        assert set(lengths) == {1}


def test_a_stretch_keeps_to_its_modality_and_an_episode_draws_anew() -> None:
    runs = [modality for modality, _ in groupby(play(dropout_of(0.4), 4_000))]
    assert all(None in pair for pair in pairwise(runs))
    firsts = play(dropout_of(0.4), 4_000, episode_steps=1)
    assert np.mean([modality is not None for modality in firsts]) == pytest.approx(0.4, abs=0.03)
    assert set(pairwise(firsts)) >= {
        (VIDEO, AUDIO),
        (AUDIO, VIDEO),
    }


def test_probability_zero_returns_the_very_same_observation_and_draws_nothing() -> None:
    dropout, whole = dropout_of(0.0), observe()
    before = dropout.generator.bit_generator.state
    for is_first in (True, False, False):
        assert dropout(whole, is_first=is_first) is whole
    assert dropout.generator.bit_generator.state == before


def test_going_on_from_a_state_equals_not_having_stopped() -> None:
    whole = dropout_of(0.5, 4.0)
    play(whole, 50)
    while whole.missing[0] is None:
        whole(observe(), is_first=False)
    state = whole.state_dict()
    parts = dropout_of(0.5, 4.0, seed=1)
    parts.load_state_dict(state)
    following = [[missing_of(one(observe(), is_first=False)) for _ in range(200)] for one in (whole, parts)]
    assert following[0] == following[1]
    assert len(set(following[0])) == 3


@pytest.mark.parametrize(
    ("probability", "mean_steps", "message"),
    [
        (1.0, 8.0, r"modality_dropout must be in \[0, 1\), got 1.0"),
        (-0.1, 8.0, r"modality_dropout must be in \[0, 1\), got -0.1"),
        (0.1, 0.5, "modality_dropout_steps must be at least 1, got 0.5"),
        (0.6, 1.0, "modality_dropout must be at most 0.5 with stretches of 1 steps, got 0.6"),
    ],
)
def test_what_cannot_be_honoured_is_refused(probability: float, mean_steps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dropout_of(probability, mean_steps)
