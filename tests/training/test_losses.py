"""Every loss by hand: at both ends of its range, between, and its gradient."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spl.training.losses import (
    ALIGNMENT,
    SPARSITY,
    classification,
    infonce_alignment,
    kl_sparsity,
    l1_sparsity,
    over_modalities,
    reconstruction,
    squared_alignment,
    squared_sparsity,
    temporal_difference,
)

DATA = Path(__file__).parents[1] / "data"
CASE = json.loads((DATA / "mdqn.json").read_text())["td_clip"]
SPARSE = json.loads((DATA / "bdae.json").read_text())["sparsity"]
TARGETS = torch.tensor(CASE["y"], dtype=torch.float64)


def values() -> torch.Tensor:
    return torch.tensor(CASE["q"], dtype=torch.float64, requires_grad=True)


def test_huber_by_hand() -> None:
    expected = torch.tensor(CASE["huber"], dtype=torch.float64)
    torch.testing.assert_close(temporal_difference(values(), TARGETS), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("target", "loss"), [(0.0, 0.0), (1.0, 0.5), (-1.0, 0.5), (1.5, 1.0), (-3.0, 2.5)])
def test_huber_at_and_around_one(target: float, loss: float) -> None:
    assert temporal_difference(torch.zeros(1), torch.tensor([target])).tolist() == [loss]


def test_squared_by_hand() -> None:
    losses = temporal_difference(values(), TARGETS, huber=False)
    expected = torch.tensor([delta**2 / 2 for delta in CASE["delta"]], dtype=torch.float64)
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("huber", "key"), [(True, "clipped"), (False, "delta")])
def test_the_gradient_is_the_difference_clipped_by_huber_alone(huber: bool, key: str) -> None:
    q = values()
    losses = temporal_difference(q, TARGETS, huber=huber)
    assert losses.shape == (3,)
    losses.sum().backward()
    torch.testing.assert_close(-q.grad, torch.tensor(CASE[key], dtype=torch.float64), rtol=0, atol=1e-12)


LOGITS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([1, 0, 1])


def test_classification_by_hand() -> None:
    rest = math.log(1.0 + math.exp(-2.0))
    expected = torch.tensor([math.log(2.0), rest, 2.0 + rest])
    torch.testing.assert_close(classification(LOGITS, LABELS), expected)


def test_label_smoothing_by_hand() -> None:
    rest = math.log(1.0 + math.exp(-2.0))
    expected = torch.tensor([math.log(2.0), 0.9 * rest + 0.1 * (2.0 + rest), 0.1 * rest + 0.9 * (2.0 + rest)])
    torch.testing.assert_close(classification(LOGITS, LABELS, label_smoothing=0.2), expected)
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        classification(LOGITS, LABELS, label_smoothing=1.0)


def test_classification_of_half_precision_is_float() -> None:
    assert classification(LOGITS.bfloat16(), LABELS).dtype == torch.float32


def test_reconstruction_costs_0_if_perfect_and_1_for_the_mean_of_each_position() -> None:
    x = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] = 0.9 + 0.01 * x[:, 1]  # another mean: the mean over all positions would be far off
    variance = x.var(dim=0, correction=0).mean().item()
    assert reconstruction(x, x, variance=variance).tolist() == [0.0] * 50
    mean = reconstruction(x.mean(dim=0).expand(50, 2, 3), x, variance=variance)
    assert mean.shape == (50,)
    assert mean.mean().item() == pytest.approx(1.0, abs=1e-12)
    assert reconstruction(x.mean().expand(50, 2, 3), x, variance=variance).mean() > 1.5


def test_reconstruction_by_hand() -> None:
    output, target = torch.tensor([[1.0, 2.0], [0.5, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert reconstruction(output, target, variance=0.5).tolist() == [5.0, 0.25]
    assert reconstruction(output.half(), target.half(), variance=0.5).dtype == torch.float32


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan])
def test_what_never_changes_cannot_be_reconstructed(variance: float) -> None:
    with pytest.raises(ValueError, match=rf"variance must be positive, got {variance}"):
        reconstruction(torch.zeros(2, 3), torch.zeros(2, 3), variance=variance)


def test_shapes_of_a_reconstruction_must_agree() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 1, 3\) and \(2, 3\)"):
        reconstruction(torch.zeros(2, 1, 3), torch.zeros(2, 3), variance=1.0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1.0, 1.0), [3, 2, 4, 0]),
        ((3.0, 1.0), [2.5, 2, 4, 0]),
        ((0, 5), [4, 0, 4, 0]),
        ((1, 0), [2, 2, 0, 0]),
    ],
)
def test_modalities_that_are_there_are_averaged(weights: tuple[float, float], expected: list[float]) -> None:
    losses = torch.tensor([[2.0, 4.0], [2.0, math.nan], [math.inf, 4.0], [2.0, 4.0]])
    present = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    assert over_modalities(losses, present, weights=weights).tolist() == expected


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (1.0,)])
def test_weights_of_modalities_must_be_such(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="none negative and one positive"):
        over_modalities(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), weights=weights)


@pytest.mark.parametrize("name", SPARSITY)
def test_sparsity_by_hand(name: str) -> None:
    activations = torch.tensor(SPARSE["h"], dtype=torch.float64)
    penalty = SPARSE["lam"] * SPARSITY[name](activations, SPARSE["rho"])
    assert penalty.shape == (4,)
    assert penalty.mean().item() == pytest.approx(SPARSE[name], abs=1e-12)


@pytest.mark.parametrize("name", SPARSITY)
def test_sparsity_is_nothing_at_its_target(name: str) -> None:
    target = 0.0 if name == "l1" else 0.25
    activations = torch.full((3, 5), target, dtype=torch.float64)
    assert SPARSITY[name](activations, target).tolist() == pytest.approx([0.0] * 3, abs=1e-15)
    assert (SPARSITY[name](activations + 0.1, target) > 0.001).all()


@pytest.mark.parametrize("name", SPARSITY)
def test_gradient_of_sparsity(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(4, 3, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    assert torch.autograd.gradcheck(lambda h: SPARSITY[name](h, 0.1), (activations.requires_grad_(),))


def test_the_kl_penalty_takes_activations_from_0_to_1() -> None:
    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)  # their mean is 0.5
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert kl_sparsity(ends, 0.25).tolist() == pytest.approx([expected] * 2, abs=1e-12)
    for beyond in ([0.1, 1.2], [-0.1, 0.8]):
        with pytest.raises(ValueError, match="the KL penalty needs activations in"):
            kl_sparsity(torch.tensor(beyond)[:, None], 0.25)
    for mean in (0.0, 1.0):
        with pytest.raises(ValueError, match="the KL penalty needs activations in"):
            kl_sparsity(torch.full((2, 1), mean), 0.25)


def test_only_l1_tells_samples_apart() -> None:
    activations = torch.tensor(SPARSE["h"])
    torch.testing.assert_close(l1_sparsity(-activations), torch.tensor([1.2, 1.2, 0.9, 1.1]))
    assert len(set(squared_sparsity(activations, 0.1).tolist())) == 1
    assert len(set(kl_sparsity(activations, 0.1).tolist())) == 1


@pytest.mark.parametrize(
    "activations", [[[0.5, 1.5]], [[0.5, -0.1]], [[0.5, 0.0]], [[0.5, 1.0]], [[0.5, math.nan]]]
)
def test_kl_refuses_what_no_sigmoid_gives(activations: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"needs activations in \(0, 1\), got .* use a sigmoid"):
        kl_sparsity(torch.tensor(activations), 0.1)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_kl_has_no_target_at_its_ends(target: float) -> None:
    with pytest.raises(ValueError, match=rf"target must be in \(0, 1\), got {target}"):
        kl_sparsity(torch.full((2, 2), 0.5), target)


def test_kl_of_almost_saturated_bfloat16_is_finite() -> None:
    activations = torch.full((256, 2), 1.0, dtype=torch.bfloat16)
    activations[0] = 0.5
    assert kl_sparsity(activations, 0.1).isfinite().all()  # in bfloat16 the mean would be 1


SEEN = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
HEARD = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)


def test_squared_alignment_by_hand() -> None:
    # squared distances 0 and 16, 0 and 1, 0 and 0; the units' variances are 14/9 + 14/9 and 6/9 + 18/9
    expected = torch.tensor([16.0, 1.0, 0.0], dtype=torch.float64) / (24 / 9) / 2
    torch.testing.assert_close(squared_alignment(SEEN, HEARD), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(squared_alignment(SEEN * 7, HEARD * 7), expected, rtol=0, atol=1e-12)


def test_squared_alignment_cannot_be_bought_with_one_large_unit() -> None:
    large = torch.tensor([9.0, 1.0], dtype=torch.float64)  # the unit in which both agree
    expected = squared_alignment(SEEN, HEARD)
    torch.testing.assert_close(squared_alignment(SEEN * large, HEARD * large), expected, rtol=0, atol=1e-12)


def test_units_that_never_differ_do_not_count_in_the_squared_alignment() -> None:
    with_still = (functional.pad(SEEN, (0, 2), value=5.0), functional.pad(HEARD, (0, 2), value=5.0))
    torch.testing.assert_close(squared_alignment(*with_still), squared_alignment(SEEN, HEARD))


def test_squared_alignment_at_its_ends() -> None:
    assert squared_alignment(SEEN, SEEN).tolist() == [0.0, 0.0, 0.0]
    generator = torch.Generator().manual_seed(0)
    unrelated = torch.randn(2, 20_000, 4, generator=generator)
    assert squared_alignment(*unrelated).mean().item() == pytest.approx(1.0, abs=0.02)
    alone = torch.ones(1, 2, requires_grad=True)
    squared_alignment(alone, torch.zeros(1, 2)).sum().backward()
    assert alone.grad is not None
    assert alone.grad.tolist() == [[0.0, 0.0]]  # no others to compare with, and no NaN


def test_infonce_by_hand() -> None:
    cos = [[0.6, 0.0], [0.8, 1.0]]  # rows: seen, columns: heard

    def chosen(own: float, other: float, temperature: float) -> float:
        return math.log(1 + math.exp((other - own) / temperature))

    for temperature in (0.5, 1.0):
        expected = [
            (chosen(cos[0][0], cos[0][1], temperature) + chosen(cos[0][0], cos[1][0], temperature)) / 2,
            (chosen(cos[1][1], cos[1][0], temperature) + chosen(cos[1][1], cos[0][1], temperature)) / 2,
        ]
        got = infonce_alignment(SEEN[:2], HEARD[:2], temperature)
        assert got.tolist() == pytest.approx(expected, abs=1e-12)


def test_infonce_at_its_ends() -> None:
    codes = torch.eye(4, dtype=torch.float64)
    assert infonce_alignment(codes, 7 * codes, 0.01).max() < 1e-12  # length does not count
    torch.testing.assert_close(
        infonce_alignment(codes, codes, 1e6).mean().item(), math.log(4), rtol=1e-5, atol=0
    )
    same = torch.ones(4, 3)
    torch.testing.assert_close(infonce_alignment(same, same, 0.1), torch.full((4,), math.log(4)))
    assert infonce_alignment(codes, codes.roll(1, 0), 0.1).min() > 9.9  # the wrong partner is 1 / 0.1 better
    assert infonce_alignment(codes[:1], codes[1:2], 0.1).tolist() == [0.0]


def test_infonce_treats_both_modalities_alike() -> None:
    torch.testing.assert_close(infonce_alignment(SEEN, HEARD, 0.3), infonce_alignment(HEARD, SEEN, 0.3))


@pytest.mark.parametrize("name", ALIGNMENT)
def test_alignment_is_per_sample_and_its_gradient_right(name: str) -> None:
    order = torch.tensor([2, 0, 1])
    losses = ALIGNMENT[name](SEEN, HEARD, 0.3)
    torch.testing.assert_close(ALIGNMENT[name](SEEN[order], HEARD[order], 0.3), losses[order])
    inputs = (SEEN.clone().requires_grad_(), HEARD.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda s, h: ALIGNMENT[name](s, h, 0.3), inputs)
    with pytest.raises(ValueError, match=r"must both be \(B, D\), got \(3, 2\) and \(2, 2\)"):
        ALIGNMENT[name](SEEN, HEARD[:2], 0.3)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        infonce_alignment(SEEN, HEARD, 0.0)
