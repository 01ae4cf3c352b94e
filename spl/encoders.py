"""The two-stream encoder that autoencoder and Q-network share: video stream, audio stream, fusion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from spl.attention import ATTENTION
from spl.records import StreamSpec


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
    # Qureshi et al. (2016), Robot gains social intelligence through multimodal deep RL: 8 x 198 x 198
    "mdqn": (Conv(16, 9, 3, 1, 2), Conv(32, 5, 1, 0, 2), Conv(64, 5, 1, 0, 2)),
}
AUDIO_STREAM = (Conv(16, 3, 2, 1, 1), Conv(32, 3, 2, 1, 1), Conv(32, 3, 2, 1, 1))
AUDIO_HIDDEN = 256  # of the perceptron


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of the two streams and of their joint code."""

    video_stream: Literal["nature", "small", "mdqn"] = "small"  # convolutions
    attention: Literal["csm", "none"] = "csm"  # after the video stream's convolutions
    audio_stream: Literal["conv", "mlp"] = "conv"  # convolutions over a log-mel, or a perceptron
    video_features: int = 256  # of the video stream
    audio_features: int = 128  # of the audio stream
    features: int = 256  # of the joint code

    def __post_init__(self) -> None:
        for name in ("video_features", "audio_features", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class ByteConv2d(nn.Conv2d):
    """A convolution of bytes 0..255 read as 0..1: its weight is scaled, which costs less than the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C', H', W')`` for ``x (B, C, H, W)`` uint8."""
        out: Tensor = self._conv_forward(as_floats(x, self.weight.dtype), self.weight / 255, self.bias)
        return out


def as_floats(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return bytes ``(B, C, H, W)`` as floats 0..255 with the channels last in memory.

    On the CPU one channel after the other: half the time of the library's own permuting copy (0.6 ms at
    32 x 4 x 84 x 84), which has its inner loop over the four channels.
    """
    if x.device.type != "cpu":
        return x.to(dtype, memory_format=torch.channels_last)
    floats = torch.empty(x.shape, dtype=dtype, memory_format=torch.channels_last)
    for channel in range(x.shape[1]):
        floats[:, channel].copy_(x[:, channel])
    return floats


def conv_stream(
    in_channels: int, size: tuple[int, int], layers: Sequence[Conv], first: type[nn.Conv2d] = nn.Conv2d
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
        conv = nn.Conv2d if modules else first
        modules += [conv(in_channels, channels, kernel, stride, padding), nn.ReLU()]
        if pool > 1:
            modules.append(nn.MaxPool2d(pool))
        in_channels = channels
    return nn.Sequential(*modules), size[0] * size[1]


class VideoStream(nn.Module):
    """``T`` frames as channels -> convolutions -> attention -> ``(B, D)``."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        history: int,
        layers: Sequence[Conv],
        attention: str,
        features: int,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.convs, positions = conv_stream(history * channels, (rows, columns), layers, ByteConv2d)
        self.attention = ATTENTION[attention](layers[-1].channels)
        self.project = nn.Linear(layers[-1].channels * positions, features)

    def forward(self, video: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``video (B, T, C, H, W)`` uint8."""
        x = self.convs(video.flatten(1, 2))  # (B, C', H', W')
        x = self.attention(x)
        return torch.relu(self.project(x.flatten(1)))  # (B, D)


class AudioStream(nn.Module):
    """``T`` steps of log-mel laid end to end in time -> convolutions -> ``(B, D)``."""

    def __init__(self, shape: tuple[int, int, int], *, history: int, features: int) -> None:
        super().__init__()
        channels, bands, frames = shape
        if bands == 1:
            raise ValueError(
                "encoder.audio_stream=conv reads several mel bands, got one, as a waveform has it: "
                "set --encoder.audio_stream mlp"
            )
        self.convs, positions = conv_stream(channels, (bands, history * frames), AUDIO_STREAM)
        self.project = nn.Linear(AUDIO_STREAM[-1].channels * positions, features)

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``audio (B, T, C, M, F)``."""
        x = audio.to(self.project.weight.dtype).permute(0, 2, 3, 1, 4).flatten(3)  # (B, C, M, T F)
        return torch.relu(self.project(self.convs(x).flatten(1)))  # (B, D)


class AudioMlp(nn.Module):
    """All values of ``T`` steps, a waveform's or log-mel levels -> two linear layers -> ``(B, D)``."""

    def __init__(self, shape: tuple[int, int, int], *, history: int, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(history * math.prod(shape), AUDIO_HIDDEN)
        self.project = nn.Linear(AUDIO_HIDDEN, features)

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``(B, D)`` for ``audio (B, T, C, M, F)``; int8 is read as -1..1."""
        x = audio.flatten(1).to(self.hidden.weight.dtype)  # (B, T C M F)
        if audio.dtype == torch.int8:  # here the input is smaller than the weight
            x = x / 128
        return torch.relu(self.project(torch.relu(self.hidden(x))))  # (B, D)


AUDIO_STREAMS = {"conv": AudioStream, "mlp": AudioMlp}


class TwoStreamEncoder(nn.Module):
    """Video and audio, each in its own stream, fused into one code that knows which of them is absent.

    An absent sense's features are zeroed and its presence flag is 0, so nothing that its stream makes of
    zeros (biases) reaches the code. A stream whose shape has a zero is not built.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        history: int,
        video_stream: str,
        attention: str,
        video_features: int,
        audio_stream: str,
        audio_features: int,
        features: int,
    ) -> None:
        super().__init__()
        self.video = self.audio = None
        if spec.has_video:
            self.video = VideoStream(
                spec.video,
                history=history,
                layers=VIDEO_STREAMS[video_stream],
                attention=attention,
                features=video_features,
            )
        if spec.has_audio:
            self.audio = AUDIO_STREAMS[audio_stream](spec.audio, history=history, features=audio_features)
        self.stream_features = (
            video_features if spec.has_video else 0,
            audio_features if spec.has_audio else 0,
        )
        self.features = features
        self.fuse = nn.Linear(sum(self.stream_features) + 2, features)

    def streams(self, video: Tensor, audio: Tensor, present: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return each stream's features ``(B, D)``, zero where absent; None for a stream not built."""
        gates = present.to(self.fuse.weight.dtype)  # (B, 2)
        seen = None if self.video is None else self.video(video) * gates[:, :1]  # (B, Dv)
        heard = None if self.audio is None else self.audio(audio) * gates[:, 1:]  # (B, Da)
        return seen, heard

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Tensor:
        """Return the code ``(B, D)``.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
        """
        parts = [part for part in self.streams(video, audio, present) if part is not None]
        joint = torch.cat([*parts, present.to(self.fuse.weight.dtype)], dim=1)  # (B, Dv + Da + 2)
        return torch.relu(self.fuse(joint))  # (B, D)
