"""The sum-tree, drawn from exactly; priorities that follow errors and a memory; importance weights."""

import numpy as np
import pytest
import torch
from scipy import stats

from spl.agents.q_network.quantiles import quantile_regression
from spl.agents.replay.memory import ReplayMemory
from spl.agents.replay.prioritized import EPSILON, Priorities, SumTree, absolute_errors, importance_weights
from spl.records import Observation, StreamSpec, Transition
from spl.training.losses import temporal_difference

SPEC = StreamSpec((1, 2, 2), (1, 1, 2))


def tree_of(*values: float) -> SumTree:
    tree = SumTree(len(values))
    tree.set(np.arange(len(values)), np.array(values, np.float64))
    return tree


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_each_place_has_its_own_stretch_of_the_sum(size: int) -> None:
    values = np.arange(size, dtype=np.float64) + 0.5
    tree = tree_of(*values)
    starts = np.concatenate([[0.0], np.cumsum(values)])
    assert tree.total == starts[-1]
    assert tree.find(starts[:-1]).tolist() == list(range(size))  # multiples of a half: sums are exact
    assert tree.find(starts[1:] - 1e-9).tolist() == list(range(size))


def test_stretches_are_as_long_as_the_values_say_by_enumeration() -> None:
    tree = tree_of(1, 0, 3, 0, 4, 0)
    sums = (np.arange(8000) + 0.5) / 1000
    assert np.bincount(tree.find(sums), minlength=6).tolist() == [1000, 0, 3000, 0, 4000, 0]


def test_what_is_drawn_fits_a_distribution_made_by_hand() -> None:
    values = np.array([0.0, 0.1, 2.0, 0.0, 1.0, 0.5, 0.4])
    tree, generator = tree_of(*values), np.random.default_rng(0)
    drawn = np.concatenate([tree.draw(1, generator) for _ in range(20_000)])  # one alone: independent draws
    counts = np.bincount(drawn, minlength=7)
    assert counts[[0, 3]].tolist() == [0, 0]
    kept = values > 0
    assert stats.chisquare(counts[kept], values[kept] / 4.0 * 20_000).pvalue > 1e-3


def test_a_stratified_draw_takes_one_from_each_equal_part_in_any_order() -> None:
    tree, generator = tree_of(1, 1, 2, 4), np.random.default_rng(0)
    orders = set()
    for _ in range(50):
        drawn = tree.draw(8, generator)
        assert np.bincount(drawn, minlength=4).tolist() == [1, 1, 2, 4]
        orders.add(tuple(drawn))
    assert len(orders) > 40


def test_a_place_of_value_zero_is_never_found_however_a_sum_is_rounded() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        values = generator.random(37) * (generator.random(37) < 0.4) * 10.0 ** generator.integers(-12, 12, 37)
        values[5] = 1e-300
        tree = tree_of(*values)
        sums = np.concatenate([generator.random(50) * tree.total, [0.0, tree.total, tree.total * (1 + 1e-9)]])
        assert (values[tree.find(sums)] > 0).all()


def test_the_tree_depends_on_its_values_alone() -> None:
    generator = np.random.default_rng(0)
    tree, values = SumTree(100), np.zeros(100)
    for _ in range(200):
        places = generator.integers(100, size=9)
        tree.set(places, given := generator.random(9) * 1e9)
        for place, value in zip(places, given, strict=True):
            values[place] = value
    assert tree.values.tolist() == values.tolist()
    assert tree._nodes.tolist() == tree_of(*values)._nodes.tolist()
    assert tree.total == pytest.approx(values.sum())


def test_many_places_are_set_as_few_are() -> None:
    values = np.random.default_rng(0).random(1000)
    few = SumTree(1000)
    for start in range(0, 1000, 7):
        few.set(np.arange(start, min(start + 7, 1000)), values[start : start + 7])
    assert few._nodes.tolist() == tree_of(*values)._nodes.tolist()
    few.set(np.zeros(0, np.int64), np.zeros(0))


def test_an_empty_tree_cannot_be_drawn_from() -> None:
    with pytest.raises(ValueError, match=r"positive sum to be drawn from, got 0\.0"):
        SumTree(4).draw(2, np.random.default_rng(0))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_priorities_are_powers_of_errors_and_new_ones_enter_at_the_highest(alpha: float) -> None:
    priorities, everywhere = Priorities(4, alpha), np.ones(4, np.bool_)
    priorities.follow(np.arange(3), everywhere[:3])
    assert priorities.tree.values.tolist() == [1, 1, 1, 0]
    priorities.see(np.array([0, 1]), np.array([3.0, 0.0]))
    assert priorities.tree.values[:2] == pytest.approx([(3 + EPSILON) ** alpha, EPSILON**alpha])
    priorities.follow(np.array([3]), everywhere[:1])
    assert priorities.tree.values[3] == priorities.tree.values[0]
    priorities.follow(np.array([0]), ~everywhere[:1])
    assert priorities.tree.values[0] == 0.0
    assert priorities.highest == (3 + EPSILON) ** alpha  # "so far", not "of those that are left"
    rest = priorities.tree.values[1:]
    assert priorities.probabilities(np.arange(1, 4)).tolist() == (rest / priorities.tree.total).tolist()


def test_importance_weights_by_hand() -> None:
    chances = np.array([0.5, 0.25, 0.125])
    assert importance_weights(chances, 4, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert importance_weights(chances, 4, 1.0).tolist() == [0.25, 0.5, 1.0]  # 1/2, 1, 2 over 2
    assert importance_weights(chances, 4, 0.5) == pytest.approx([0.5, 0.5**0.5, 1.0])


def test_weights_of_beta_one_take_the_bias_away() -> None:
    """Weighted means over what is drawn meet the plain mean over all: the sum over places is exact."""
    values, told = np.array([0.2, 1.0, 5.0, 0.8]), np.array([3.0, -1.0, 2.0, 7.0])
    chances = values / values.sum()
    weights = importance_weights(chances, 4, 1.0).astype(np.float64)
    assert (chances * weights * told).sum() / (chances * weights).sum() == pytest.approx(told.mean())


@pytest.mark.parametrize("huber", [True, False])
def test_errors_are_read_back_from_losses(huber: bool) -> None:
    errors = torch.tensor([0.0, 1e-3, 0.5, 1.0, 1.5, 40.0])
    losses = temporal_difference(torch.zeros(6), -errors, huber=huber).numpy()
    assert absolute_errors(losses, huber=huber) == pytest.approx(errors.numpy(), rel=1e-6)


@pytest.mark.parametrize("huber", [True, False])
@pytest.mark.parametrize("num", [1, 2, 32])
def test_errors_are_read_back_from_losses_of_quantiles(num: int, huber: bool) -> None:
    """All quantiles off by the same, of a target without spread, as many below its middle as above."""
    errors = torch.tensor([0.0, 1e-3, 0.5, 1.0, 1.5, 40.0])
    values, targets = torch.zeros(6, num), -errors[:, None].expand(6, 3)
    losses = quantile_regression(values, targets, huber=huber).numpy()
    assert absolute_errors(losses, huber=huber, quantiles=num) == pytest.approx(errors.numpy(), rel=1e-5)


def world(num_envs: int, slack: int, n_step: int, num_steps: int) -> tuple[ReplayMemory, Priorities]:
    """Return a memory whose rings went round several times and the priorities that followed it."""
    generator = np.random.default_rng(num_envs)
    memory = ReplayMemory(SPEC, 12 * num_envs, num_envs=num_envs, history=3, n_step=n_step, slack=slack)
    priorities = Priorities(memory.sampleable.mask.size, 1.0)
    seen = Observation(np.zeros(SPEC.video, np.uint8), np.zeros(SPEC.audio, np.float16), np.ones(2, bool))
    for step in range(num_steps):
        env = int(generator.integers(num_envs))
        if not memory.is_open(env) or generator.random() < 0.02:  # an episode may stay without an end
            memory.begin(seen, env)
        ends = generator.random() < 0.15
        memory.add(Transition(seen, 0, float(step), bool(ends), False, seen), env)
        if step % 3 == 0:
            changed = memory.sampleable.take_changes()
            priorities.follow(changed, memory.sampleable.mask[changed])
            places = memory.sampleable.places()
            if places.size:
                priorities.see(places, memory.at(places).reward.numpy().astype(np.float64))
    changed = memory.sampleable.take_changes()
    priorities.follow(changed, memory.sampleable.mask[changed])
    return memory, priorities


@pytest.mark.parametrize("num_steps", [12, 30, 200])
@pytest.mark.parametrize(("num_envs", "slack", "n_step"), [(1, 0, 1), (1, 5, 3), (3, 0, 3), (3, 7, 1)])
def test_exactly_what_a_memory_can_give_has_a_priority_and_it_is_its_own(
    num_envs: int, slack: int, n_step: int, num_steps: int
) -> None:
    memory, priorities = world(num_envs, slack, n_step, num_steps)
    places, values = memory.sampleable.places(), priorities.tree.values
    assert np.flatnonzero(values).tolist() == places.tolist()
    assert len(memory) == places.size
    rewards = memory.at(places).reward.numpy() + EPSILON
    is_new = values[places] == priorities.highest
    assert values[places][~is_new] == pytest.approx(rewards[~is_new])
    drawn = priorities.tree.draw(500, np.random.default_rng(0))
    assert memory.sampleable.mask[drawn].all()


def test_a_place_written_anew_between_two_looks_counts_as_new() -> None:
    memory, priorities = world(1, 0, 1, 60)
    before = priorities.tree.values.copy()
    seen = Observation(np.zeros(SPEC.video, np.uint8), np.zeros(SPEC.audio, np.float16), np.ones(2, bool))
    if not memory.is_open():
        memory.begin(seen)
    for _ in range(12):  # once round
        memory.add(Transition(seen, 0, 0.0, False, False, seen))
    changed = memory.sampleable.take_changes()
    priorities.follow(changed, memory.sampleable.mask[changed])
    places = memory.sampleable.places()
    assert (before[places] > 0).any()
    assert (priorities.tree.values[places] == priorities.highest).all()


def test_priorities_are_put_back_for_what_can_still_be_sampled() -> None:
    memory, priorities = world(3, 7, 3, 200)
    mask = memory.sampleable.mask
    later = Priorities(mask.size, 1.0)
    later.load_state_dict(priorities.state_dict(), mask)
    assert later.tree._nodes.tolist() == priorities.tree._nodes.tolist()
    assert later.highest == priorities.highest
    fewer, more = mask.copy(), mask.copy()
    fewer[np.flatnonzero(mask)[:4]] = False
    more[np.flatnonzero(~mask)[:2]] = True
    later.load_state_dict(priorities.state_dict(), fewer)
    assert np.flatnonzero(later.tree.values).tolist() == np.flatnonzero(fewer).tolist()
    later.load_state_dict(priorities.state_dict(), more)
    assert (later.tree.values[more & ~mask] == priorities.highest).all()
    with pytest.raises(ValueError, match="must be 3 priorities, got"):
        Priorities(3, 1.0).load_state_dict(priorities.state_dict(), mask)
