"""The streams, each from one modality to its features: convolutional or dense. Fusion is not here."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from spl.attention.stream import Start, gain_of, stream_attention
from spl.models.pictures import ByteConv2d, PictureNorm, StandardisedConv2d

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Conv(NamedTuple):
    """One convolution with ReLU, and the max-pooling after it (1 = none)."""

    channels: int
    kernel: int
    stride: int
    padding: int
    pool: int


VIDEO_STREAMS: dict[str, tuple[Conv, ...]] = {
    # Mnih et al. (2015), extended data table 1
    "nature": (Conv(32, 8, 4, 0, 1), Conv(64, 4, 2, 0, 1), Conv(64, 3, 1, 0, 1)),
    # half the channels, for worlds that are simple to see
    "small": (Conv(16, 8, 4, 0, 1), Conv(32, 4, 2, 0, 1), Conv(32, 3, 1, 0, 1)),
    # both with the last positions pooled 2 x 2: a fourth of them to attend to and to project
    "nature-pooled": (Conv(32, 8, 4, 0, 1), Conv(64, 4, 2, 0, 1), Conv(64, 3, 1, 0, 2)),
    "small-pooled": (Conv(16, 8, 4, 0, 1), Conv(32, 4, 2, 0, 1), Conv(32, 3, 1, 0, 2)),
    # Qureshi et al. (2016), Robot gains social intelligence through multimodal deep RL: 8 x 198 x 198
    "mdqn": (Conv(16, 9, 3, 1, 2), Conv(32, 5, 1, 0, 2), Conv(64, 5, 1, 0, 2)),
}
AUDIO_STREAM = (Conv(16, 3, 2, 1, 1), Conv(32, 3, 2, 1, 1), Conv(32, 3, 2, 1, 1))
AUDIO_HIDDEN = 256  # of the perceptron


def in_units(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``x`` of any shape as floats in its modality's unit, whatever it is kept as.

    Bytes of pictures (uint8) become 0..1, those of waveforms (int8) -1..127/128; floats stay what they are.
    """
    floats = x.to(dtype)
    if x.dtype == torch.uint8:
        return floats / 255
    return floats / 128 if x.dtype == torch.int8 else floats


def initialise(layer: Layer, nonlinearity: Literal["linear", "relu"] = "linear") -> Layer:
    """Return ``layer`` with weights drawn from ``N(0, gain^2 / n)``, ``n`` inputs a unit, and biases of 0.

    The gain is 1 for ``linear`` (LeCun et al., 1998, Efficient backprop, section 4.6) and the square root of
    2 for ``relu``, which makes up for what a ReLU cuts off (He et al., 2015, Delving deep into rectifiers,
    equation 10). PyTorch's default variance of ``1 / (3 n)`` leaves features nine times as small after four
    layers as ``linear`` does, and gradients of the size of Adam's epsilon. An agent whose streams start with
    ``relu`` is misled by noise that costs one started with ``linear`` little (docs/results.md).
    """
    if not layer.weight.is_meta:  # it is only counted: drawing would import the compiler
        nn.init.kaiming_normal_(layer.weight, nonlinearity=nonlinearity)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def draw_as_pytorch(stream: "Stream") -> None:
    """Draw the first weights of a stream's layers anew as PyTorch does, and leave its attention as it is.

    Weights and biases are uniform in ``[-1 / sqrt(n), 1 / sqrt(n)]`` for ``n`` inputs a unit, a variance of
    ``1 / (3 n)``.
    """
    for name, layer in stream.named_modules():
        is_drawn = isinstance(layer, (nn.Conv2d, nn.Linear)) and not name.startswith("attention.")
        if is_drawn and not layer.weight.is_meta:
            layer.reset_parameters()


def conv_stream(
    in_channels: int,
    size: tuple[int, int],
    layers: Sequence[Conv],
    first: Callable[..., nn.Conv2d] = nn.Conv2d,
) -> tuple[nn.Sequential, int]:
    """Return convolutions for ``(B, in_channels, *size)`` and the number of values they leave per channel.

    Raises:
        ValueError: if the input is too small for a layer.
    """
    modules: list[nn.Module] = []
    for channels, kernel, stride, padding, pool in layers:
        size = tuple(((side + 2 * padding - kernel) // stride + 1) // pool for side in size)  # type: ignore[assignment]
        if min(size) < 1:
            raise ValueError(
                f"the input is too small for a convolution of {kernel} x {kernel} with stride {stride}: "
                "give a larger env.video_size or another encoder.video_stream"
            )
        conv = (nn.Conv2d if modules else first)(in_channels, channels, kernel, stride, padding)
        modules += [initialise(conv), nn.ReLU()]
        if pool > 1:
            modules.append(nn.MaxPool2d(pool))
        in_channels = channels
    return nn.Sequential(*modules), size[0] * size[1]


class VideoStream(nn.Module):
    """``T`` frames as channels -> convolutions -> attention -> ``(B, D)``.

    With ``standardise`` they are standardised first (`PictureNorm`).
    """

    shape: tuple[int, int, int, int]  # (T, C, H, W), what it reads of a sample

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        history: int,
        layers: Sequence[Conv],
        attention: str,
        features: int,
        attention_options: Mapping[str, Any] = {},
        attention_start: Start = "neutral",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.shape = (history, *shape)
        first = partial(StandardisedConv2d, norm=PictureNorm(shape)) if standardise else ByteConv2d
        self.convs, positions = conv_stream(history * channels, (rows, columns), layers, first)
        self.attention = stream_attention(attention, layers[-1].channels, attention_options)
        self.gain = gain_of(attention, attention_options, attention_start)
        self.project = initialise(nn.Linear(layers[-1].channels * positions, features))

    @property
    def norm(self) -> PictureNorm | None:
        """What standardises the pictures, if anything does."""
        first = self.convs[0]
        return first.norm if isinstance(first, StandardisedConv2d) else None

    def forward(self, video: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``video (B, T, C, H, W)`` uint8."""
        x = self.convs(video.flatten(1, 2))  # (B, C', H', W')
        x = self.attention(x)
        x = x if self.gain == 1 else self.gain * x
        return torch.relu(self.project(x.flatten(1)))  # (B, D)


class AudioStream(nn.Module):
    """``T`` steps of log-mel laid end to end in time -> convolutions -> ``(B, D)``."""

    shape: tuple[int, int, int, int]  # (T, C, M, F)

    def __init__(self, shape: tuple[int, int, int], *, history: int, features: int) -> None:
        super().__init__()
        channels, bands, frames = shape
        if bands == 1:
            raise ValueError(
                "encoder.audio_stream=conv reads several mel bands, got one, as a waveform has it: "
                "set --encoder.audio_stream mlp"
            )
        self.shape = (history, *shape)
        self.convs, positions = conv_stream(channels, (bands, history * frames), AUDIO_STREAM)
        self.project = initialise(nn.Linear(AUDIO_STREAM[-1].channels * positions, features))

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``audio (B, T, C, M, F)``."""
        x = audio.to(self.project.weight.dtype).permute(0, 3, 1, 4, 2).flatten(2, 3)  # (B, M, T F, C)
        return torch.relu(self.project(self.convs(x.permute(0, 3, 1, 2)).flatten(1)))  # (B, D)


class AudioMlp(nn.Module):
    """All values of ``T`` steps, a waveform's or log-mel levels -> two linear layers -> ``(B, D)``."""

    shape: tuple[int, int, int, int]  # (T, C, M, F)

    def __init__(self, shape: tuple[int, int, int], *, history: int, features: int) -> None:
        super().__init__()
        self.shape = (history, *shape)
        self.hidden = initialise(nn.Linear(history * math.prod(shape), AUDIO_HIDDEN))
        self.project = initialise(nn.Linear(AUDIO_HIDDEN, features))

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``audio (B, T, C, M, F)``; int8 is read as -1..1."""
        x = in_units(audio, self.hidden.weight.dtype).flatten(1)  # (B, T C M F)
        return torch.relu(self.project(torch.relu(self.hidden(x))))  # (B, D)


class DenseStream(nn.Module):
    """All values of ``T`` steps of either modality -> linear layers, each with ReLU -> ``(B, D)``.

    Counted with the input it has ``len(widths) + 2`` layers: two widths make the four below the joint code.
    A picture's attention stands at the input, the only place where there still are rows and columns: its
    channels are the ``T C`` of the pictures and its positions their pixels. What compares every pixel with
    every other (csm, sam) takes seconds for a batch of 84 x 84, and 0.2 s for one of 36 x 36.

    Args:
        shape: of one step, ``(C, H, W)`` or ``(C, M, F)``.
        history: ``T``.
        widths: of the hidden layers below the features, the input's side first.
        features: ``D``, the last hidden layer's width.
        attention: of `StreamAttention`, ``none`` for sound.
        attention_options, attention_start: of that module, see `gain_of`.
    """

    shape: tuple[int, int, int, int]  # (T, C, H, W) or (T, C, M, F)
    mean: (
        Tensor  # of what it reads, taken off it: sound that is never silent is learned from ten times sooner
    )

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        history: int,
        widths: Sequence[int],
        features: int,
        attention: str = "none",
        attention_options: Mapping[str, Any] = {},
        attention_start: Start = "neutral",
    ) -> None:
        super().__init__()
        self.shape = (history, *shape)
        self.gain = gain_of(attention, attention_options, attention_start)
        self.attention = stream_attention(attention, history * shape[0], attention_options)
        sizes = (math.prod(self.shape), *widths)
        self.hidden = nn.ModuleList(initialise(nn.Linear(*pair), "relu") for pair in pairwise(sizes))
        self.project = initialise(nn.Linear(sizes[-1], features), "relu")
        self.register_buffer("mean", torch.zeros(self.shape))

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers, the input's side first."""
        return [*self.hidden, self.project]

    def layer(self, number: int, x: Tensor) -> Tensor:
        """Return what the layer of that number makes ``(B, D)`` of what the one below it made.

        Layer 0 reads the modality itself, ``(B, T, C, H, W)`` floats in its unit.
        """
        if number == 0:
            x = self.attention((x - self.mean).flatten(1, 2)).flatten(1)  # (B, T C H W)
            x = x if self.gain == 1 else self.gain * x
        return torch.relu(self.layers[number](x))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``x (B, T, C, H, W)`` uint8 or ``(B, T, C, M, F)`` float16 or int8."""
        x = in_units(x, self.project.weight.dtype)
        for number in range(len(self.layers)):
            x = self.layer(number, x)
        return x  # (B, D)


# What `EncoderConfig` calls dense has widths in place of a name.
AUDIO_STREAMS: dict[str, type[AudioStream] | type[AudioMlp]] = {"conv": AudioStream, "mlp": AudioMlp}
Stream = VideoStream | AudioStream | AudioMlp | DenseStream
