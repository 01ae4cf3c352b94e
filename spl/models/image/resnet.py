"""Residual networks by name, with optional attention: those of the papers, and torchvision's.

There are four families, all post-activation, the WideResNets too:

- ``cifar`` (32 x 32) and ``stl`` (96 x 96), as the HAM paper counts them. Shortcuts have no weights: 2 x 2
  means where the stride is 2, zeros for new channels ("option A", also for 64 -> 256 at stride 1). A
  bottleneck strides in its first 1 x 1 convolution. The stem is 3 x 3; or 7 x 7 with stride 2, no max-pool.
- ``imagenet`` (224 x 224), as torchvision's: projections as shortcuts, the stride in the 3 x 3 convolution, a
  max-pool behind the stem, and the same keys in the ``state_dict``, so that its pre-trained weights load.
- ``small`` (32 x 32), as the CSM papers have CIFAR-100: those of ``imagenet`` with a 3 x 3 stem of stride 1
  and no max-pool, so that 32 x 32 positions end as 4 x 4 and not as one.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from spl.attention import ATTENTION
from spl.attention.rcca import RCCAHead
from spl.attention.shared import SharedSE
from spl.attention.table import check_options
from spl.models.image.network_table import RESNETS, ResNetSpec, check_stages, lookup

Attend = Callable[[int], nn.Module]  # a number of channels -> an attention module
Place = Literal["block", "stage", "gate", "head"]  # where they stand: see `ResNet`
OWN_PLACES: dict[str, Place] = {"rcca": "head", "shared": "gate"}


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size at stride 1; Kaiming normal, fan out."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class PaddedShortcut(nn.Module):
    """Shrink by means of ``stride x stride`` positions, and add channels of zeros behind: no weights.

    Where the size does not divide, the means at the far edge are of the positions that there are.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.num_zeros = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C + zeros, H / stride, W / stride)``, sizes rounded up, of ``x (B, C, H, W)``."""
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        return functional.pad(x, (0, 0, 0, 0, 0, self.num_zeros))


def shortcut(spec: ResNetSpec, inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return what brings a block's input to the shape of its output."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if spec.is_projected:
        return nn.Sequential(conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))
    return PaddedShortcut(inputs, outputs, stride)


class Block(nn.Module):
    """``relu(attention(branch(x)) + shortcut(x))``; `BasicBlock` and `Bottleneck` say what the branch is."""

    def __init__(
        self, spec: ResNetSpec, inputs: int, outputs: int, stride: int, attention: nn.Module
    ) -> None:
        super().__init__()
        self.downsample = shortcut(spec, inputs, outputs, stride)
        self.attention = attention

    def branch(self, x: Tensor) -> Tensor:
        """Return what the convolutions make of ``x (B, C, H, W)``, normalised."""
        raise NotImplementedError

    def forward(self, x: Tensor, attention: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)`` of ``x (B, inputs, H, W)``.

        ``attention`` takes the place of the block's own.
        """
        attention = self.attention if attention is None else attention
        return functional.relu(attention(self.branch(x)) + self.downsample(x))


class BasicBlock(Block):
    """Two 3 x 3 convolutions, the stride in the first."""

    def __init__(
        self, spec: ResNetSpec, inputs: int, outputs: int, stride: int, attention: nn.Module
    ) -> None:
        super().__init__(spec, inputs, outputs, stride, attention)
        self.conv1 = conv(inputs, outputs, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)

    def branch(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)``."""
        out: Tensor = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return out


class Bottleneck(Block):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution; the family says which of the first two has the stride."""

    def __init__(
        self, spec: ResNetSpec, inputs: int, outputs: int, stride: int, attention: nn.Module
    ) -> None:
        super().__init__(spec, inputs, outputs, stride, attention)
        assert spec.inner is not None
        inner = spec.inner * outputs // spec.width
        first, second = (1, stride) if spec.is_projected else (stride, 1)
        self.conv1 = conv(inputs, inner, 1, stride=first)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride=second, groups=spec.groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)

    def branch(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)``."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.bn3(self.conv3(x))
        return out


class GatedStage(nn.Sequential):
    """Blocks, and behind them the one module whose gate, computed at the first block, scales all of them."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)``; the gate lives as long as this pass."""
        *blocks, shared = self
        assert isinstance(shared, SharedSE)
        gates: list[Tensor] = []

        def attention(branch: Tensor) -> Tensor:
            if not gates:
                gates.append(shared.gate(branch))  # (B, outputs, 1, 1)
            return branch * gates[0]

        for block in blocks:
            x = block(x, attention)
        return x


def stage(
    spec: ResNetSpec, inputs: int, outputs: int, depth: int, *, stride: int, attend: Attend, place: Place
) -> nn.Sequential:
    """Return ``depth`` blocks and, as the last and named ``attention``, the module they have in common."""
    make = BasicBlock if spec.inner is None else Bottleneck
    parts = OrderedDict[str, nn.Module]()
    for position in range(depth):
        own = attend(outputs) if place == "block" else nn.Identity()
        parts[str(position)] = make(spec, inputs, outputs, stride, own)
        inputs, stride = outputs, 1
    if place in ("stage", "gate"):
        parts["attention"] = attend(outputs)
    return GatedStage(parts) if place == "gate" else nn.Sequential(parts)


def _bare(channels: int) -> nn.Module:
    return nn.Identity()


class ResNet(nn.Module):
    """A stem, three or four stages of blocks, the mean over positions, and a linear classifier.

    Args:
        spec: the network, from `RESNETS`.
        num_classes: ``K``.
        attend: called with a number of channels, returns an attention module.
        place: where these stand: in each ``block``, behind each ``stage``, one ``gate`` for all blocks of a
            stage, or a ``head`` behind the last stage, of which a quarter of the channels comes out.
        stages: those that have attention, counted from 1; none for all.
    """

    def __init__(
        self,
        spec: ResNetSpec,
        *,
        num_classes: int,
        attend: Attend,
        place: Place,
        stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        kernel, stride = (3, 1) if spec.family in ("cifar", "small") else (7, 2)
        self.conv1 = conv(3, spec.stem, kernel, stride=stride)
        self.bn1 = nn.BatchNorm2d(spec.stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if spec.family == "imagenet" else nn.Identity()
        channels = spec.stem
        self.num_stages = len(spec.depths)
        for position, depth in enumerate(spec.depths):
            inputs, channels, stride = channels, spec.width << position, 1 if position == 0 else 2
            own: tuple[Attend, Place] = (attend, place)
            if stages and position + 1 not in stages:
                own = (_bare, "block")
            blocks = stage(spec, inputs, channels, depth, stride=stride, attend=own[0], place=own[1])
            self.add_module(f"layer{position + 1}", blocks)
        self.head = attend(channels) if place == "head" else nn.Identity()
        self.fc = nn.Linear(channels // 4 if place == "head" else channels, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return what the classifier sees of the pictures ``x (B, 3, H, W)``: ``(B, D)``."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        for position in range(self.num_stages):
            x = self.get_submodule(f"layer{position + 1}")(x)
        x = self.head(x)
        return x.mean(dim=(2, 3))  # (B, D)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of the pictures ``x (B, 3, H, W)``."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def build_resnet(
    name: str,
    *,
    num_classes: int,
    attention: str = "none",
    attention_options: Mapping[str, Any] = {},
    attention_per: Literal["block", "stage"] = "block",
    attention_stages: tuple[int, ...] = (),
) -> ResNet:
    """Return a network of `RESNETS` with fresh weights, drawn from torch's global generator.

    Convolutions of the network start Kaiming normal (fan out, ReLU), normalisations with scale 1 and shift 0;
    the classifier as PyTorch does, and attention modules as each says.

    Args:
        name: of `RESNETS`.
        num_classes: ``K``, at least 1.
        attention: of `ATTENTION`.
        attention_options: given to every attention module by keyword; those of ``rcca`` are `RCCAHead`'s.
        attention_per: one module per ``block``, after the last normalisation and before the sum; or one per
            ``stage``, behind it. Two have places of their own and no choice: ``rcca`` is one head behind the
            last stage, after which the classifier sees a quarter of the channels (so the HAM paper counts
            it); ``shared`` computes one gate per stage, at its first block, and applies it in all its blocks.
        attention_stages: the stages that have attention, counted from 1; none for all.

    Raises:
        ValueError: if a name, an option or its value is unknown, ``num_classes`` is not positive, or
            ``attention_per`` or ``attention_stages`` is not heeded.
    """
    spec = lookup(RESNETS, name, "network")
    module = RCCAHead if attention == "rcca" else lookup(ATTENTION, attention, "attention")
    check_options(attention, module, attention_options)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if attention_per not in ("block", "stage"):
        raise ValueError(f"attention_per must be 'block' or 'stage', got {attention_per!r}")
    if attention in OWN_PLACES and attention_per != "block":
        raise ValueError(f"attention {attention!r} has a place of its own; leave attention_per at 'block'")
    check_stages(spec, attention_stages, name, attention)
    return ResNet(
        spec,
        num_classes=num_classes,
        attend=partial(module, **attention_options),
        place=OWN_PLACES.get(attention, attention_per),
        stages=attention_stages,
    )
