"""A two-stream network as a function of two images: the frames, and the audio as one strip."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spl.models.encoder import TwoStreamEncoder
from spl.models.streams import AudioStream, VideoStream, in_units
from spl.saliency import METHODS
from spl.saliency.layers import Layer

LEAST = 3  # rows and columns of a layer in which something can stand out
OF_STREAMS = tuple(name for name in METHODS if name != "attention")  # a stream's may have no positions


def check_method(name: str) -> None:
    """Raise `ValueError` if no saliency method of that name explains both streams."""
    if name not in OF_STREAMS:
        raise ValueError(f"method must be one of {', '.join(OF_STREAMS)}, got {name!r}")


class AsPictures(nn.Module):
    """What a network of a `TwoStreamEncoder` makes of ``(B, T C, H, W)`` and ``(B, C, M, T F)``, in units.

    So every method of `spl.saliency` gives a map of the frames and a map of the strip, in which the steps lie
    end to end in time.

    Args:
        network: called as ``network(video, audio, present)``, or with a state behind; has an ``encoder``.
        history: ``T``.
    """

    def __init__(self, network: nn.Module, history: int) -> None:
        super().__init__()
        self.network, self.history = network, history

    @property
    def encoder(self) -> TwoStreamEncoder:
        """The network's."""
        return cast(TwoStreamEncoder, self.network.encoder)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor, *beside: Tensor) -> Any:
        """Return what the network gives.

        Args:
            video: ``(B, T C, H, W)`` in 0..1.
            audio: ``(B, C, M, T F)`` log-mel levels, or a waveform in -1..1.
            present: ``(B, 2)`` flags of video and audio.
            beside: state ``(B, S)`` and then recurrent state ``(B, R)``, of a network that reads them.
        """
        T = self.history
        if video.numel():
            B, _, H, W = video.shape
            video = video.reshape(B, T, -1, H, W)
        if audio.numel():
            audio = audio.reshape(*audio.shape[:3], T, -1).permute(0, 3, 1, 2, 4)  # (B, T, C, M, F)
        if isinstance(self.encoder.video, VideoStream):
            video = 255 * video  # its convolutions read bytes
        return self.network(video, audio, present, *beside)

    @property
    def layers(self) -> tuple[Layer, Layer]:
        """The layers of both streams that are looked at, as `looked_at` has them."""
        return looked_at(self.encoder)


def looked_at(encoder: TwoStreamEncoder) -> tuple[Layer, Layer]:
    """Return the layer of the video and of the audio stream of which maps are made, as `last_with_places`.

    They lie below the stream's attention, which mixes positions: above it a place is no place any more.
    None for a stream that has no convolutions, or is not there.
    """
    video, audio = encoder.video, encoder.audio
    seen = heard = None
    if isinstance(video, VideoStream):
        seen = last_with_places(video.convs, video.shape[-2:])
    if isinstance(audio, AudioStream):
        T, _, bands, frames = audio.shape
        heard = last_with_places(audio.convs, (bands, T * frames))
    return seen, heard


def last_with_places(convs: nn.Sequential, size: tuple[int, int]) -> nn.Module:
    """Return the last layer whose output still has `LEAST` rows and columns: of one place nothing stands out.

    Args:
        convs: of a stream.
        size: rows and columns of its input.
    """
    found: nn.Module = convs[0]
    for layer in convs:
        if isinstance(layer, nn.Conv2d):
            padding = [0, 0] if isinstance(layer.padding, str) else layer.padding  # ours are numbers
            sides = zip(size, layer.kernel_size, layer.stride, padding, strict=True)
            size = tuple((side + 2 * p - k) // s + 1 for side, k, s, p in sides)  # type: ignore[assignment]
        elif isinstance(layer, nn.MaxPool2d):
            size = tuple(side // layer.kernel_size for side in size)  # type: ignore[operator, assignment]
        if min(size) >= LEAST:
            found = layer
    return found


def as_pictures(
    video: Tensor,
    audio: Tensor,
    present: Tensor,
    state: Tensor | None = None,
    recurrent: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return ``(B, T C, H, W)``, ``(B, C, M, T F)``, the flags and the states of what an agent is given.

    Args:
        video: ``(B, T, C, H, W)`` uint8.
        audio: ``(B, T, C, M, F)`` float16 or int8.
        present: ``(B, 2)`` bool.
        state: ``(B, S)``; None or ``S`` = 0: there is none, nor, without ``recurrent``, in what is returned.
        recurrent: ``(B, R)``, before the step; None: there is none.
    """
    strip = in_units(audio, torch.float32).permute(0, 2, 3, 1, 4).flatten(3)  # (B, C, M, T F)
    beside: tuple[Tensor, ...] = () if state is None else (state,)
    if recurrent is not None:
        beside = (*beside, recurrent)
    elif state is None or not state.shape[1]:
        beside = ()
    return in_units(video).flatten(1, 2), strip, present, *beside
