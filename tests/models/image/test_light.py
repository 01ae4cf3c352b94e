"""Light networks: torchvision's counts and weights, where attention stands in them, what they draw."""

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from spl.attention import ATTENTION, attention_maps
from spl.models.image.cost import num_parameters
from spl.models.image.light import build_light
from spl.models.image.network_table import LIGHT
from spl.models.image.networks import build_network
from spl.models.image.resnet import OWN_PLACES

# Parameters with a thousand classes, as torchvision publishes them with its weights.
PUBLISHED = {
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_large": 5_483_032,
    "shufflenet_v2_x1_0": 2_278_604,
    "squeezenet1_1": 1_235_496,
    "efficientnet_b0": 5_288_548,
}
# Channels of what attention stands behind, in each block and behind each stage.
BLOCKS = {
    "mobilenet_v3_small": [16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
    "mobilenet_v3_large": [16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160],
    "shufflenet_v2_x1_0": [116] * 4 + [232] * 8 + [464] * 4,
    "squeezenet1_1": [128, 128, 256, 256, 384, 384, 512, 512],
    "efficientnet_b0": [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320],
}
STAGES = {
    "mobilenet_v3_small": [16, 24, 48, 576],
    "mobilenet_v3_large": [16, 24, 40, 112, 960],
    "shufflenet_v2_x1_0": [116, 232, 1024],
    "squeezenet1_1": [128, 256, 512],
    "efficientnet_b0": [16, 24, 40, 112, 1280],
}


def build(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    with torch.device(
        "cpu" if options else "meta"
    ):  # channels are counted in a pass, which meta makes slowly
        return build_light(name, num_classes=num_classes, **options)


def channels(net: nn.Module) -> list[int]:
    """Return the width of each squeeze-excitation of ours, in the network's order."""
    return [
        net.get_submodule(name).out_features for name, _ in net.named_modules() if name.endswith(".expand")
    ]


@pytest.mark.parametrize("name", LIGHT)
def test_parameters_are_those_that_torchvision_publishes(name: str) -> None:
    assert num_parameters(build(name, 1000)) == PUBLISHED[name]


@pytest.mark.parametrize("name", LIGHT)
def test_torchvisions_weights_load_and_attention_keeps_the_keys(name: str) -> None:
    theirs, ours = torchvision.models.get_model(name, num_classes=10), build(name)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    gated = build(name, attention="se")
    assert set(gated.state_dict()) >= set(theirs.state_dict())


@pytest.mark.parametrize("name", LIGHT)
def test_attention_stands_in_every_block_or_behind_every_stage(name: str) -> None:
    base, block, stage = (
        build(name, **options)
        for options in ({}, {"attention": "se"}, {"attention": "se", "attention_per": "stage"})
    )
    for net, widths in ((block, BLOCKS[name]), (stage, STAGES[name])):
        assert channels(net) == widths
        added = sum(2 * width * max(1, width // 16) for width in widths)
        assert num_parameters(net) == num_parameters(base) + added
    first, last = (
        build(name, attention="se", attention_stages=(number,)) for number in (1, len(STAGES[name]))
    )
    assert channels(first) == BLOCKS[name][: len(channels(first))]
    assert 0 < len(channels(first)) < len(BLOCKS[name])
    assert channels(last) == BLOCKS[name][-len(channels(last)) :]
    middle = build(name, attention="se", attention_per="stage", attention_stages=(2,))
    assert channels(middle) == STAGES[name][1:2]


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize("per", ["block", "stage"])
def test_attention_is_called_and_trained(name: str, per: str) -> None:
    torch.manual_seed(0)
    net = build_light(name, num_classes=4, attention="se", attention_per=per)
    images = torch.randn(3, 3, 64, 64)
    functional.cross_entropy(net(images), torch.tensor([0, 1, 2])).backward()
    assert all(weight.grad is not None for weight in net.parameters())
    net.eval()
    with torch.no_grad(), attention_maps(net) as maps:
        before, again = net(images), net(images)
        assert len(maps) == len((BLOCKS if per == "block" else STAGES)[name])
        for module in net.modules():
            if hasattr(module, "attention"):
                module.attention.expand.weight.zero_()  # every gate is 1 / 2
        assert torch.equal(before, again)
        assert not torch.equal(net(images), before)
        copied = copy.deepcopy(net)
        assert torch.equal(copied(images), net(images))


@pytest.mark.parametrize("attention", sorted(ATTENTION.keys() - OWN_PLACES))
def test_every_attention_but_those_of_residual_networks_stands_in_them(attention: str) -> None:
    torch.manual_seed(0)
    net = build_light("mobilenet_v3_small", num_classes=4, attention=attention)
    loss = functional.cross_entropy(net(torch.randn(3, 3, 32, 32)), torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in net.parameters() if weight.grad is not None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "mobilenet"}, "no network 'mobilenet'; did you mean 'mobilenet_v3_small'"),
        ({"name": "mobilenet_v3_smal"}, "did you mean 'mobilenet_v3_small'"),
        ({"attention": "csmm"}, "no attention 'csmm'; did you mean 'csm'"),
        (
            {"attention": "shared"},
            "'shared' is one gate for the residual blocks of a stage, which squeezenet1_1",
        ),
        ({"attention": "rcca"}, "'rcca' is a head of its own, which squeezenet1_1 has not: choose another"),
        ({"attention": "se", "attention_options": {"share": 1}}, "'se' has no option 'share'"),
        ({"attention": "se", "attention_stages": (4,)}, r"in 1\.\.3, the stages of squeezenet1_1, got 4"),
        ({"attention_stages": (1,)}, "'none' stands in no stage"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(**{"name": "squeezenet1_1", "num_classes": 10, **changes})


@pytest.mark.parametrize("name", LIGHT)
def test_the_least_picture_is_the_least(name: str) -> None:
    net, least = build(name).eval(), LIGHT[name].least_size
    assert net(torch.empty(1, 3, least, least, device="meta")).shape == (1, 10)
    if least > 1:
        with pytest.raises(RuntimeError):
            net(torch.empty(1, 3, least - 1, least - 1, device="meta"))
