"""The options of pretraining's objective at the ends of their ranges."""

from typing import Any

import pytest
import torch

from spl.agents.config import TrainAgentConfig
from spl.agents.pretrained_config import PretrainingConfig
from spl.data.audiovisual import Pairs
from spl.models.autoencoder import TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig
from spl.models.hidden_units import hidden_units
from spl.pretrain.config import PretrainConfig
from spl.pretrain.objective import Objective, ObjectiveConfig
from tests.models.test_hidden_units import DENSE, autoencoder, batch


def test_a_temperature_is_above_0() -> None:
    assert ObjectiveConfig(alignment="infonce", temperature=1e-9).temperature == 1e-9
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        ObjectiveConfig(temperature=0.0)


@pytest.mark.parametrize("name", ["video_weight", "audio_weight"])
def test_one_stream_s_error_may_count_nothing_but_not_both(name: str) -> None:
    assert getattr(ObjectiveConfig(**{name: 0.0}), name) == 0.0
    with pytest.raises(ValueError, match="video_weight and audio_weight must not both be 0"):
        ObjectiveConfig(video_weight=0.0, audio_weight=0.0)


def test_shares_include_both_ends() -> None:
    assert ObjectiveConfig(block=0.0, sparsity_target=1.0).sparsity_target == 1.0
    with pytest.raises(ValueError, match=r"block must be in \[0, 1\], got 1\.1"):
        ObjectiveConfig(block=1.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity_of": "all"}, "need a penalty: set sparsity to squared or l1"),
        ({"sparsity": "kl", "sparsity_of": "all"}, "hidden layers have ReLU: use squared or l1"),
        ({"sparsity": "squared", "sparsity_per_layer": (0.1,)}, "needs sparsity_of=all and"),
        (
            {"sparsity": "l1", "sparsity_of": "all", "sparsity_per_layer": (0.1,)},
            "sparsity=squared: set these",
        ),
    ],
)
def test_a_penalty_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ObjectiveConfig(**options)


def test_the_kl_penalty_needs_codes_from_0_to_1() -> None:
    sparse = ObjectiveConfig(sparsity="kl")
    PretrainConfig(objective=sparse, encoder=EncoderConfig(code_activation="sigmoid"))
    for refused in (
        lambda: PretrainConfig(objective=sparse),
        lambda: TrainAgentConfig(pretrain_steps=10, pretrain=PretrainingConfig(objective=sparse)),
    ):
        with pytest.raises(ValueError, match=r"needs codes in 0\.\.1: set encoder\.code_activation=sigmoid"):
            refused()


def losses_of(model: TwoStreamAutoencoder, pairs: Pairs, **options: Any) -> torch.Tensor:
    objective = Objective(ObjectiveConfig(**options), (1.0, 1.0), torch.Generator())
    return objective(model, pairs, torch.zeros(3, dtype=torch.int64)).losses


def test_every_layer_s_units_are_added_to_the_loss_each_with_its_own_target() -> None:
    model, shown = autoencoder(**DENSE), batch()
    pairs = Pairs(*shown, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    plain = losses_of(model, pairs)
    with hidden_units(model) as units:
        code = model(*shown).code
    layers = [*units.values(), code]
    targets = tuple(0.01 * number for number in range(len(layers)))
    expected = sum(
        (target - layer.mean(dim=0)).square().sum() for target, layer in zip(targets, layers, strict=True)
    )
    options = {"sparsity": "squared", "sparsity_of": "all", "sparsity_weight": 2.0}
    found = losses_of(model, pairs, **options, sparsity_per_layer=targets)
    torch.testing.assert_close(found, plain + 2.0 * expected)
    same = losses_of(model, pairs, **options, sparsity_target=0.3)
    torch.testing.assert_close(
        same, plain + 2.0 * sum((0.3 - layer.mean(dim=0)).square().sum() for layer in layers)
    )
    absolute = losses_of(model, pairs, sparsity="l1", sparsity_of="all", sparsity_weight=1.0)
    torch.testing.assert_close(absolute, plain + sum(layer.abs().sum(dim=1) for layer in layers))
    with pytest.raises(
        ValueError, match=r"must be 13 numbers, one for each of encoder\.video\.0, .*code; got 2"
    ):
        losses_of(model, pairs, **options, sparsity_per_layer=(0.1, 0.2))
