"""The bimodal autoencoder: two streams, one joint code, and two decoders that mirror the streams.

What of a sample is shown, both modalities or one of them, is decided here too; how it is corrupted is not.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spl.models.encoder import TwoStreamEncoder
from spl.models.streams import AudioStream, DenseStream, Stream, VideoStream, initialise

# Which modalities are shown: (video, audio).
CONDITIONS = {"both": (True, True), "video": (True, False), "audio": (False, True)}
SMALL = 0.05  # share of the decoders' last weights that is kept there; without any, learning begins later
MARGIN = 1e-3  # between a mean and the ends of its range, so that an output can still leave it


class Modalities(NamedTuple):
    """What an autoencoder is shown."""

    video: Tensor  # (B, T, C, H, W) uint8
    audio: Tensor  # (B, T, C, M, F) float16 or int8
    present: Tensor  # (B, 2) bool


class Reconstruction(NamedTuple):
    """What an autoencoder makes of it, in the units of `in_units`."""

    video: Tensor  # (B, T, C, H, W) in 0..1
    audio: Tensor  # (B, T, C, M, F) in 0..1, a waveform's in -1..1
    code: Tensor  # (B, D)


def mask(video: Tensor, audio: Tensor, present: Tensor, conditions: Tensor | str) -> Modalities:
    """Return the modalities with those that a condition leaves out zero and flagged absent.

    A modality that a sample lacks stays absent in every condition, so that nothing may be left of it: such
    a view should weigh nothing.

    Args:
        video: ``(B, T, C, H, W)``.
        audio: ``(B, T, C, M, F)``.
        present: ``(B, 2)`` bool.
        conditions: ``(B,)`` int64, places in `CONDITIONS`, or one name for all samples.

    Raises:
        ValueError: if there is no condition of that name.
    """
    if isinstance(conditions, str) and conditions not in CONDITIONS:
        raise ValueError(f"condition must be one of {', '.join(CONDITIONS)}, got {conditions!r}")
    shown = torch.tensor(list(CONDITIONS.values()), device=present.device)  # (3, 2)
    if isinstance(conditions, str):
        conditions = torch.full((len(present),), list(CONDITIONS).index(conditions), device=present.device)
    kept = present & shown[conditions]  # (B, 2)
    hidden = ~kept[:, :, None, None, None, None]  # (B, 2, 1, 1, 1, 1)
    return Modalities(video.masked_fill(hidden[:, 0], 0), audio.masked_fill(hidden[:, 1], 0), kept)


def expand_conditions(video: Tensor, audio: Tensor, present: Tensor) -> Modalities:
    """Return every sample in every condition, ``(3 B, ...)``: first all in the first of `CONDITIONS`.

    ``code.unflatten(0, (3, B))`` are then the codes of both, of the video alone and of the audio alone.
    """
    views = [mask(video, audio, present, condition) for condition in CONDITIONS]
    return Modalities(*(torch.cat(parts) for parts in zip(*views, strict=True)))


class DenseDecoder(nn.Module):
    """The code -> linear layers, with ReLU but for the last -> all values of ``T`` steps.

    Args:
        features: ``D`` of the code.
        widths: of the hidden layers, the code's side first.
        shape: ``(T, C, H, W)`` or ``(T, C, M, F)``.
        squash: keeps the output in the modality's range.
    """

    def __init__(
        self,
        features: int,
        *,
        widths: Sequence[int],
        shape: tuple[int, int, int, int],
        squash: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.shape, self.squash = shape, squash
        sizes = (features, *widths)
        self.hidden = nn.ModuleList(initialise(nn.Linear(*pair), "relu") for pair in pairwise(sizes))
        self.output = nn.Linear(sizes[-1], math.prod(shape))

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers, the code's side first."""
        return [*self.hidden, self.output]

    def layer(self, number: int, x: Tensor) -> Tensor:
        """Return the output of that layer from the output of the one before it; of the last, the modality."""
        x = self.layers[number](x)  # (B, D)
        if number < len(self.hidden):
            return torch.relu(x)
        return self.squash(x).reshape(-1, *self.shape)  # (B, T, C, H, W)

    def forward(self, code: Tensor) -> Tensor:
        """Return ``(B, T, C, H, W)`` or ``(B, T, C, M, F)`` for ``code (B, D)``."""
        x = code
        for number in range(len(self.layers)):
            x = self.layer(number, x)
        return x

    @torch.no_grad()
    def begin_with(self, mean: Tensor) -> None:
        """Let the output be about ``mean (T, C, H, W)``, whatever the code is, until something is learned."""
        self.output.weight.mul_(SMALL)
        self.output.bias.copy_(unsquashed(mean, self.squash).flatten())


class ConvDecoder(nn.Module):
    """The code -> two linear layers -> a stream's convolutions backwards -> ``T`` steps of its modality.

    Attention has no inverse and no counterpart here.

    Args:
        features: ``D`` of the code.
        stream: that is mirrored.
        squash: keeps the output in the modality's range.
    """

    def __init__(
        self, features: int, *, stream: VideoStream | AudioStream, squash: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.shape, self.squash = stream.shape, squash
        self.is_sound = isinstance(stream, AudioStream)
        T, _, rows, columns = stream.shape
        self.layers, corner = mirrored(stream.convs, (rows, T * columns if self.is_sound else columns))
        self.hidden = nn.Linear(features, stream.project.out_features)
        self.expand = nn.Linear(stream.project.out_features, stream.project.in_features)
        self.corner = (stream.project.in_features // math.prod(corner), *corner)
        self.offset: Tensor  # of every value before it is squashed: a convolution has one bias a channel
        self.register_buffer("offset", torch.zeros(stream.shape))

    def forward(self, code: Tensor) -> Tensor:
        """Return ``(B, T, C, H, W)`` or ``(B, T, C, M, F)`` for ``code (B, D)``."""
        x = torch.relu(self.hidden(code))  # (B, D)
        x = torch.relu(self.expand(x)).reshape(-1, *self.corner)  # (B, C', H', W')
        x = self.layers(x)
        if self.is_sound:
            T, C, M, F = self.shape  # the steps lie end to end: (B, C, M, T F)
            x = x.reshape(-1, C, M, T, F).permute(0, 3, 1, 2, 4)
        return self.squash(x.reshape(-1, *self.shape) + self.offset)  # (B, T, C, H, W)

    @torch.no_grad()
    def begin_with(self, mean: Tensor) -> None:
        """Let the output be about ``mean (T, C, H, W)``, whatever the code is, until something is learned."""
        last = self.layers[-1]
        assert isinstance(last, nn.ConvTranspose2d), "a stream begins with a convolution"
        assert last.bias is not None
        last.weight.mul_(SMALL)
        last.bias.zero_()
        self.offset.copy_(unsquashed(mean, self.squash))


Decoder = DenseDecoder | ConvDecoder


def unsquashed(x: Tensor, squash: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what sigmoid or tanh makes ``x`` of, any shape; the ends of the range, at infinity, kept off."""
    if squash is torch.tanh:
        return torch.atanh(x.clamp(MARGIN - 1, 1 - MARGIN))
    return torch.logit(x, eps=MARGIN)


def mirrored(convs: nn.Sequential, size: tuple[int, int]) -> tuple[nn.Sequential, tuple[int, int]]:
    """Return a stack's mirror, which gives exactly ``size`` back, and the size that its input has.

    A convolution becomes a transposed one that pads what its stride left over, a pooling the repetition of
    values, and there is a ReLU between any two convolutions. What a stride leaves over at the right and below
    no convolution has seen: there the mirror has but its bias.
    """
    modules: list[nn.Module] = []
    for module in convs:
        before = size
        if isinstance(module, nn.Conv2d):
            if modules:
                modules.insert(0, nn.ReLU())
            conv = {name: getattr(module, name) for name in ("kernel_size", "stride", "padding")}
            sides = list(zip(size, *conv.values(), strict=True))
            size = tuple((side + 2 * p - k) // s + 1 for side, k, s, p in sides)
            rest = tuple((side + 2 * p - k) % s for side, k, s, p in sides)
            back = nn.ConvTranspose2d(module.out_channels, module.in_channels, **conv, output_padding=rest)
            modules.insert(0, back)
        elif isinstance(module, nn.MaxPool2d):
            size = tuple(side // module.kernel_size for side in size)  # type: ignore[operator, assignment]
            modules.insert(0, nn.Upsample(size=before))
    return nn.Sequential(*modules), size


def decoder_of(stream: Stream, features: int, squash: Callable[[Tensor], Tensor]) -> Decoder:
    """Return the decoder that mirrors ``stream`` from a code ``(B, features)``."""
    if isinstance(stream, VideoStream | AudioStream):
        return ConvDecoder(features, stream=stream, squash=squash)
    layers = stream.layers if isinstance(stream, DenseStream) else [stream.hidden, stream.project]
    widths = [layer.out_features for layer in reversed(layers)]
    return DenseDecoder(features, widths=widths, shape=stream.shape, squash=squash)


class TwoStreamAutoencoder(nn.Module):
    """A two-stream encoder and, from its joint code, a decoder for each modality that mirrors its stream.

    With dense streams of two widths there are eight layers a stream, counted with the input: it, three hidden
    ones, then beyond the joint code three hidden ones and the output.

    Args:
        encoder: reads both modalities; it is trained, and nothing of it is copied.

    Raises:
        ValueError: if the encoder lacks a stream.

    Source: Ngiam et al. (2011), Multimodal deep learning, figure 3b. Differs: trained from the start, with
    ReLU and a flag for each modality, and without restricted Boltzmann machines.
    """

    def __init__(self, encoder: TwoStreamEncoder) -> None:
        super().__init__()
        if encoder.video is None or encoder.audio is None:
            missing = "video" if encoder.video is None else "audio"
            raise ValueError(f"a two-stream autoencoder needs both modalities, got data without {missing}")
        self.encoder = encoder
        is_waveform = encoder.audio.shape[2] == 1  # one band; full scale is -1..1, of all else 0..1
        self.video = decoder_of(encoder.video, encoder.features, torch.sigmoid)
        self.audio = decoder_of(encoder.audio, encoder.features, torch.tanh if is_waveform else torch.sigmoid)

    def begin_with(self, video_mean: Tensor, audio_mean: Tensor, video_variance: float = 0.0) -> None:
        """Let the outputs be about the data's means until something is learned; dense streams take them off.

        What random weights make of a code costs ten times as much. The decoders' last weights become small,
        their biases what squashes to the means. A stream that standardises its pictures does so by these.

        Args:
            video_mean: ``(T, C, H, W)`` in 0..1.
            audio_mean: ``(T, C, M, F)`` in its unit.
            video_variance: mean of the variances of the video's values.
        """
        self.video.begin_with(video_mean)
        self.audio.begin_with(audio_mean)
        for stream, mean in ((self.encoder.video, video_mean), (self.encoder.audio, audio_mean)):
            if isinstance(stream, DenseStream):
                stream.mean.copy_(mean)
        if self.encoder.picture_norm is not None:
            self.encoder.picture_norm.fix(video_mean.mean(dim=0), video_variance)

    def decode(self, code: Tensor) -> Reconstruction:
        """Return both modalities as ``code (B, D)`` has them."""
        return Reconstruction(self.video(code), self.audio(code), code)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Reconstruction:
        """Return both modalities, whichever of them was there.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
        """
        return self.decode(self.encoder(video, audio, present))
