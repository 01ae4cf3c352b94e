"""The closed forms: by hand, at both ends, and against a search for the least of their own objectives."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from spl.curriculum import weights as forms
from spl.curriculum.weights import SCHEMES, SchemeName

L = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9, 1.5], dtype=torch.float64)
OPTIONS: dict[str, dict[str, float]] = {"mixture": {"inner": 0.4}, "polynomial": {"power": 3.0}}
SEPARATE = [name for name in SCHEMES if name != "spld"]
SOFT = [name for name in SEPARATE if name != "hard"]


def weigh(name: str, losses: Tensor, pace: float, **options: Any) -> Tensor:
    if name == "spld":
        return forms.spld(losses, torch.arange(len(losses)) % 2, pace, **{"gamma": 0.3, **options})
    return SCHEMES[name].weights(losses, pace, **{**OPTIONS.get(name, {}), **options})


def regularise(name: str, weights: Tensor, pace: float) -> Tensor:
    return SCHEMES[name].regulariser(weights, pace, **OPTIONS.get(name, {}))


def test_every_name_of_the_option_has_its_row():
    assert set(get_args(SchemeName)) == set(SCHEMES)


@pytest.mark.parametrize(
    ("name", "pace", "expected"),
    [
        ("hard", 0.6, [1, 1, 1, 0, 0, 0]),
        ("linear", 0.6, [0.8333, 0.5, 0.1667, 0, 0, 0]),
        ("logarithmic", 0.6, [0.75647, 0.38926, 0.11499, 0, 0, 0]),
        ("mixture", 1.0, [1, 1, 0.6667, 0.2857, 0.0741, 0]),
        # 1 - L / 0.6 = 5/6, 1/2, 1/6, and their square roots
        ("polynomial", 0.6, [0.91287, 0.70711, 0.40825, 0, 0, 0]),
        # (1 + e^-0.6) / (1 + e^(L - 0.6)): 1.548812 / 1.606531, / 1.740818, / 1.904837, ...
        ("logistic", 0.6, [0.96407, 0.88970, 0.81309, 0.73572, 0.65911, 0.44768]),
    ],
)
def test_the_example_by_hand(name: str, pace: float, expected: list[float]):
    assert weigh(name, L, pace).tolist() == pytest.approx(expected, abs=5e-5)


def test_spld_by_hand():
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    # 0.6 + 0.4 / (sqrt i + sqrt(i - 1)) for i = 1, 2, 3: 1.0, 0.7657, 0.7271
    assert forms.spld(L, groups, 0.6, 0.4).tolist() == [1, 1, 1, 1, 0, 0]
    assert forms.spld(L, groups, 0.6, 0.2).tolist() == [1, 1, 1, 1, 0, 0]  # 0.8 reaches 0.7
    assert forms.spld(L, groups, 0.6, 0.0).tolist() == forms.hard(L, 0.6).tolist()


@pytest.mark.parametrize("pace", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("name", SEPARATE)
def test_a_form_is_the_least_of_its_objective(name: str, pace: float):
    grid = torch.linspace(0.0, 1.0, 20_001, dtype=torch.float64)
    least = torch.stack([grid[(grid * loss + regularise(name, grid, pace)).argmin()] for loss in L])
    torch.testing.assert_close(weigh(name, L, pace), least, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize(("pace", "gamma"), [(0.3, 0.0), (0.3, 0.5), (0.6, 0.2), (0.1, 2.0), (1.0, 1.0)])
def test_spld_is_the_least_of_its_objective(pace: float, gamma: float):
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        losses = torch.rand(9, generator=generator, dtype=torch.float64)
        groups = torch.randint(0, 3, (9,), generator=generator)

        def objective(v: Tensor, losses: Tensor = losses, groups: Tensor = groups) -> float:
            return float((v * losses).sum() + forms.spld_regulariser(v, groups, pace, gamma))

        every = (torch.tensor(v, dtype=torch.float64) for v in itertools.product((0, 1), repeat=9))
        best = min(objective(v) for v in every)
        assert objective(forms.spld(losses, groups, pace, gamma)) == pytest.approx(best, abs=1e-12)
        between = torch.rand(200, 9, generator=generator, dtype=torch.float64)
        assert min(objective(v) for v in between) >= best


@pytest.mark.parametrize("name", SCHEMES)
def test_weights_fall_with_the_loss_and_grow_with_the_pace(name: str):
    losses = torch.linspace(0.0, 2.0, 101, dtype=torch.float64)
    paces = torch.linspace(0.05, 0.95, 19).tolist()
    table = torch.stack([weigh(name, losses, pace) for pace in paces])
    assert ((table >= 0) & (table <= 1)).all()
    if name != "logarithmic":  # of which the middle falls again as the pace nears 1
        assert (table.diff(dim=0) >= -1e-12).all()
    assert ((table > 0).long().diff(dim=0) >= 0).all(), "who is in stays in"
    assert (table[-1] - table[0]).sum() > 0.5
    if name != "spld":  # which looks at ranks inside two groups
        assert (table.diff(dim=1) <= 1e-12).all()


@pytest.mark.parametrize("name", SCHEMES)
def test_both_ends(name: str):
    first, last = weigh(name, torch.tensor([0.0, 1e6]), 0.5).tolist()
    assert first == pytest.approx(1.0)
    assert last == pytest.approx(0.0)


@pytest.mark.parametrize("name", [name for name in SEPARATE if name != "logistic"])
def test_a_loss_at_the_pace_weighs_nothing(name: str):
    assert weigh(name, torch.tensor([0.5, 0.5]), 0.5).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", SCHEMES)
def test_losses_that_are_not_numbers_weigh_nothing(name: str):
    weights = weigh(name, torch.tensor([math.nan, 0.1, math.inf, 0.2]), 0.5)
    assert weights[0] == weights[2] == 0.0
    assert (weights[[1, 3]] > 0).all()
    assert weigh(name, torch.tensor([math.nan, math.inf]), 0.5).tolist() == [0.0, 0.0]
    assert weigh(name, torch.zeros(0), 0.5).shape == (0,)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_form_gives_weights_without_a_graph_and_leaves_the_losses(name: str):
    losses = torch.tensor([0.1, 0.9, 0.4], requires_grad=True)
    before = losses.detach().clone()
    weights = weigh(name, losses, 0.5)
    assert weights.shape == losses.shape
    assert weights.dtype == losses.dtype
    assert not weights.requires_grad
    assert torch.equal(losses.detach(), before)


@pytest.mark.parametrize("name", SEPARATE)
def test_each_sample_may_have_a_pace_of_its_own(name: str):
    paces = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.9, 0.5], dtype=torch.float64)
    alone = torch.stack(
        [weigh(name, loss[None], float(pace))[0] for loss, pace in zip(L, paces, strict=True)]
    )
    torch.testing.assert_close(weigh(name, L, paces), alone)


@pytest.mark.parametrize("name", [name for name in SEPARATE if name != "logarithmic"])
def test_an_infinite_pace_includes_everything(name: str):
    assert weigh(name, L, torch.full_like(L, math.inf)).tolist() == [1.0] * 6


@pytest.mark.parametrize("name", ["hard", "linear", "mixture", "polynomial", "logistic", "spld"])
def test_a_negative_loss_counts_fully(name: str):
    assert weigh(name, torch.tensor([-2.0]), 0.5).tolist() == [1.0]


def test_ties_inside_a_group_keep_their_order():
    losses, groups = torch.full((5,), 0.7), torch.tensor([0, 0, 0, 1, 1])
    # 0.5 + 0.4 / (1, 2.414, 3.146) = 0.9, 0.666, 0.627: only the first of each group
    assert forms.spld(losses, groups, 0.5, 0.4).tolist() == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("pace", [0.0, -1.0, math.nan])
def test_a_pace_that_is_not_positive_is_refused(name: str, pace: float):
    with pytest.raises(ValueError, match="the pace must be positive, got"):
        weigh(name, L, pace)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: forms.hard(L[None], 0.5), r"losses must be \(B,\) and the pace one number"),
        (lambda: forms.hard(L, torch.ones(2)), r"or \(B,\), got \(6,\) and \(2,\)"),
        (lambda: forms.logarithmic(-L, 0.5), "needs losses of 0 or more, got -1.5; choose another scheme"),
        (lambda: forms.logarithmic(L, 1.0), "form must be between 0 and 1, got 1"),
        (lambda: forms.logarithmic(L, L), "form must be between 0 and 1, got 1.5"),
        (lambda: forms.mixture(L, 0.5, 1.0), "inner must be between 0 and 1, got 1.0"),
        (lambda: forms.polynomial(L, 0.5, 1.0), "power must be above 1 and finite, got 1.0"),
        (lambda: forms.spld(L, torch.zeros(2), 0.5, 1.0), r"one group for each of the 6 losses, got \(2,\)"),
        (lambda: forms.spld(L, torch.zeros(6), 0.5, -1.0), "gamma must be finite and not negative, got -1.0"),
    ],
)
def test_bad_input_is_one_sentence(call: Any, sentence: str):
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_polynomial_takes_a_root_and_does_not_divide():
    """Defect seen elsewhere: ``(1 - L / pace) / (t - 1)``."""
    assert forms.polynomial(torch.tensor([0.25]), 1.0, 3.0).item() == pytest.approx(math.sqrt(0.75))
    assert forms.polynomial(torch.tensor([0.25]), 1.0, 4.0).item() == pytest.approx(0.75 ** (1 / 3))
    assert torch.equal(forms.polynomial(L, 0.6, 2.0), forms.linear(L, 0.6))


def test_the_logarithm_is_never_of_a_negative_number():
    """Defect seen elsewhere: ``log(L + 1 - pace)`` with a pace above 1, which is NaN."""
    easy = torch.zeros(3)
    assert forms.logarithmic(easy, 0.999).tolist() == [1.0] * 3
    with pytest.raises(ValueError, match=r"must be between 0 and 1, got 1\.5"):
        forms.logarithmic(easy, 1.5)
    assert (
        forms.logarithmic(torch.tensor([2.0, 50.0]), 0.3) == 0
    ).all()  # above the pace it would be negative


@pytest.mark.parametrize("name", SEPARATE)
def test_the_alternation_never_raises_its_objective(name: str):
    """Weighted least squares: both steps are exact, so each can only lower ``sum v L(w) + f(v)``."""
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([torch.rand(40, 1, generator=generator), torch.ones(40, 1)], dim=1).double()
    y = x @ torch.tensor([2.0, -1.0], dtype=torch.float64)
    y[:12] += 3.0 * torch.rand(12, generator=generator).double()  # a third is wrong
    w, v, objectives = torch.zeros(2, dtype=torch.float64), torch.ones(40, dtype=torch.float64), []
    for _ in range(15):
        losses = (x @ w - y) ** 2
        v = weigh(name, losses, 0.8)
        objectives.append(float((v * losses + regularise(name, v, 0.8)).sum()))
        root = v.sqrt()[:, None]
        w = torch.linalg.lstsq(root * x, root[:, 0] * y).solution
        losses = (x @ w - y) ** 2
        objectives.append(float((v * losses + regularise(name, v, 0.8)).sum()))
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(objectives))
    assert objectives[-1] < objectives[0] - 0.1
