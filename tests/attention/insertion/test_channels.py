"""Channels last: which axis of a place is that of channels, and attention that stands there."""

import copy
import io

import pytest
import timm
import torch
import torchvision
from torch import nn

from spl.attention import ATTENTION, attention_maps
from spl.attention.insertion.channels import measured_channels
from spl.attention.insertion.insert import insert_attention
from spl.receptive_fields.placement import FIRST, LAST

VISION = torchvision.models
EXAMPLE = torch.zeros(1, 3, 64, 64)
LAST_PLACES = {  # by network: places, and their channels
    "swin_t": (["features.1", "features.3.1.mlp.0", "features.7"], [96, 768, 768]),
    "convnext_tiny": (["features.1.0.block.2", "features.3.1.block.4"], [96, 768]),
    "timm_swin": (["layers.0", "layers.2.blocks.1.norm1"], [96, 384]),
}


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "timm_swin":
        return timm.create_model("swin_tiny_patch4_window7_224", strict_img_size=False).eval()
    return getattr(VISION, name)(weights=None).eval()


class Last(nn.Module):
    """A picture ``(B, 3, H, W)`` through a net whose features are ``(B, H, W, C)``."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 4, stride=4)
        self.mix = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU())
        self.head = nn.Linear(channels, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        return self.head((x + self.mix(x)).mean(dim=(1, 2)))


class LastGiven(nn.Module):
    """A picture ``(B, H, W, 3)`` through dense layers and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act, self.dense = nn.LayerNorm(3), nn.GELU(), nn.Linear(3, 6)
        self.inner, self.conv, self.outer = nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(self.dense(self.act(self.norm(x))))
        return self.outer(self.conv(x.permute(0, 3, 1, 2)))


def wake(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
    return net


@pytest.mark.parametrize("name", LAST_PLACES)
def test_attention_stands_where_channels_are_last_at_any_size(name):
    net = built(name)
    where, channels = LAST_PLACES[name]
    pictures = [torch.randn(2, 3, *size) for size in ((64, 64), (96, 64), (44, 76))]
    with torch.inference_mode():
        before = [net(x) for x in pictures]
    result = insert_attention(net, "se", where=where, example=EXAMPLE)
    assert [one.channels for one in result.inserted] == channels
    with torch.inference_mode():
        assert all(torch.equal(net(x), one) for x, one in zip(pictures, before, strict=True))
        wake(net)
        assert not any(torch.allclose(net(x), one) for x, one in zip(pictures, before, strict=True))


@pytest.mark.parametrize("name", sorted({*ATTENTION} - {"shared"}))
def test_each_attention_computes_there_what_it_does_on_a_picture(name):
    torch.manual_seed(0)
    net, x = Last(16).eval(), torch.randn(2, 3, 24, 40)
    seen = []
    net.mix[2].register_forward_hook(lambda *args: seen.append(args[2]))
    net(x)
    insert_attention(net, name, where="mix", start="module", example=EXAMPLE)
    net.mix[2].register_forward_hook(lambda *args: seen.append(args[2]))
    net(x)
    plain, attended = seen[0], seen[-1]
    expected = net.mix[2].attention(plain.permute(0, 3, 1, 2).contiguous()).permute(0, 2, 3, 1)
    assert plain.shape == attended.shape == (2, 6, 10, 16)
    torch.testing.assert_close(attended, expected)
    attended.square().sum().backward()
    assert all(p.grad is not None for p in net.mix[2].attention.parameters())


def test_maps_behind_channels_last_are_of_pictures():
    net = Last().eval()
    insert_attention(net, "cbam", where="mix", example=EXAMPLE, reduction=2)
    with attention_maps(net) as maps, torch.inference_mode():
        net(torch.randn(2, 3, 24, 40))
    assert {tuple(one.shape) for one in maps.values()} <= {(2, 8, 1, 1), (2, 1, 6, 10)}
    assert maps


def test_equal_rows_columns_and_channels_are_told_apart():
    net = Last(channels=16).eval()
    square = torch.zeros(1, 3, 64, 64)  # 16 rows, 16 columns, 16 channels
    layers = dict(net.named_modules())
    found = measured_channels(net, {name: layers[name] for name in ("stem", "mix", "mix.1", "mix.2")}, square)
    assert found == {"stem": (16, FIRST), "mix": (16, LAST), "mix.1": (16, LAST), "mix.2": (16, LAST)}
    swin = built("swin_t")
    assert measured_channels(swin, {"": swin.features[1]}, torch.zeros(1, 3, 384, 384)) == {"": (96, LAST)}


@pytest.mark.parametrize("size", [(4, 4), (4, 32), (32, 4)])
def test_one_row_or_column_or_both_are_enough(size):
    net = Last().eval()
    layers = {"stem": net.stem, "gelu": net.mix[2]}
    assert measured_channels(net, layers, torch.zeros(1, 3, *size)) == {"stem": (8, FIRST), "gelu": (8, LAST)}
    plain = VISION.resnet18().eval()
    layers = {"relu": plain.layer4[0].relu, "block": plain.layer4[1]}
    assert measured_channels(plain, layers, torch.zeros(1, 3, 32, 32)) == {
        "relu": (512, FIRST),
        "block": (512, FIRST),
    }


@pytest.mark.parametrize("size", [(20, 20, 3), (3, 3, 3), (5, 2, 3)])
def test_pictures_that_are_given_channels_last_are_recognised_by_the_layers(size):
    net = LastGiven().eval()
    layers = {name: module for name, module in net.named_modules() if name}
    found = measured_channels(net, layers, torch.zeros(1, *size))
    assert found == {
        **dict.fromkeys(("norm", "act"), (3, LAST)),
        **dict.fromkeys(("dense", "inner"), (6, LAST)),
        **dict.fromkeys(("conv", "outer"), (4, FIRST)),
    }


def test_each_of_several_inputs_is_followed_to_its_layers():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.video, self.audio = Last().mix, nn.Sequential(nn.Conv2d(1, 8, 3), nn.GELU())

        def forward(self, flags, video, audio, scale):
            seen = self.video(nn.functional.pad(video, (0, 0, 0, 0, 0, 5)).permute(0, 2, 3, 1))
            return scale * (seen.mean() + self.audio(audio).mean())

    net = Two().eval()
    example = (torch.ones(1, 2), torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), 2.0)
    result = insert_attention(net, "se", where=["video", "audio"], example=example, reduction=2)
    assert [one.channels for one in result.inserted] == [8, 8]
    found = measured_channels(net, {"v": net.video[2], "a": net.audio[1]}, example)
    assert found == {"v": (8, LAST), "a": (8, FIRST)}


def test_a_plain_network_keeps_its_numbers_and_axes():
    torch.manual_seed(0)
    net = VISION.resnet18().eval()
    x = torch.randn(2, 3, 64, 64)
    read_off, measured = copy.deepcopy(net), copy.deepcopy(net)
    outputs = []
    for one, example in ((read_off, None), (measured, EXAMPLE)):
        torch.manual_seed(1)
        insert_attention(one, "se", start="module", example=example)
        with torch.inference_mode():
            outputs.append(one(x))
    assert torch.equal(*outputs)
    with torch.inference_mode():  # the module itself, on what the norm gives
        expected = x
        for name, module in net.named_children():
            if name == "fc":
                expected = expected.flatten(1)
            if not name.startswith("layer"):
                expected = module(expected)
                continue
            for number, block in enumerate(module):
                branch = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(expected)))))
                attention = read_off.get_submodule(f"{name}.{number}.bn2.attention")
                shortcut = expected if block.downsample is None else block.downsample(expected)
                expected = block.relu(attention(branch) + shortcut)
    assert torch.equal(outputs[0], expected)


def test_weights_are_saved_and_loaded():
    net, other = (insert_into(Last().eval()) for _ in range(2))
    x, stored = torch.randn(2, 3, 24, 40), io.BytesIO()
    torch.save(wake(net).state_dict(), stored)
    assert not torch.allclose(net(x), other(x))
    other.load_state_dict(torch.load(io.BytesIO(stored.getvalue())))
    assert torch.equal(net(x), other(x))
    assert torch.equal(net(x), copy.deepcopy(net)(x))


def insert_into(net: nn.Module) -> nn.Module:
    insert_attention(net, "se", where="mix", example=EXAMPLE, reduction=2)
    return net


class Lost(nn.Module):
    """Four axes that have nothing to do with the rows and columns of the picture, or all on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table, self.heads = nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        heads = self.heads(x.flatten(2).mT.reshape(len(x), -1, 2, 4).transpose(1, 2))  # (B, 2, N, 4)
        return heads.sum() + self.table(torch.ones(1, 5, 5, 6)).sum()


@pytest.mark.parametrize("where", ["table", "heads"])
def test_what_cannot_be_recognised_is_refused(where):
    net = Lost()
    with pytest.raises(ValueError, match=rf"the channel axis of '{where}' is ambiguous"):
        insert_attention(net, "se", where=where, example=EXAMPLE)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_place_that_gives_other_axes_than_it_was_made_for_is_told():
    class Block(nn.Module):
        """A residual block that gives its sum channels last."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1, self.conv2 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
            self.bn2, self.downsample = nn.BatchNorm2d(8), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.bn2(self.conv2(self.bn1(self.conv1(x))))).permute(0, 2, 3, 1)

    net = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), Block()).eval()
    blind = copy.deepcopy(net)
    insert_attention(blind, "eca", where="stage")
    with pytest.raises(
        ValueError, match=r"after '1' was made for 8 channels on axis 1 .*, got \(1, 16, 16, 8\)"
    ):
        blind(EXAMPLE)
    insert_attention(net, "eca", where="stage", example=EXAMPLE)
    assert net(torch.zeros(2, 3, 20, 40)).shape == (2, 5, 10, 8)
