"""Greedy pre-training of dense streams: layer by layer, each a denoising autoencoder of the one below."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from spl.data.corruptions import drop_values
from spl.models.autoencoder import DenseDecoder, TwoStreamAutoencoder
from spl.models.streams import DenseStream, in_units
from spl.records import AUDIO, VIDEO
from spl.training.losses import reconstruction


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer of a dense stream, and the layer of the decoder that takes it back to the one below.

    Both are the autoencoder's own: what a stage learns stands where the whole will go on from.
    """

    modality: int  # VIDEO or AUDIO: which of the two the stream reads
    stream: DenseStream
    decoder: DenseDecoder
    number: int  # of the stream's layer, 0 reads the modality

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the stage trains; the layers below stay."""
        mirror = self.decoder.layers[-1 - self.number]
        trained = [*self.stream.layers[self.number].parameters(), *mirror.parameters()]
        return [*self.stream.attention.parameters(), *trained] if self.number == 0 else trained

    def target(self, x: Tensor) -> Tensor:
        """Return what the stage is to reconstruct: what the layers below make of ``x``, without a graph.

        Stage 0 has ``x`` itself, ``(B, T, C, H, W)`` or ``(B, T, C, M, F)`` floats in its unit; any other
        the activations ``(B, D)``.
        """
        with torch.no_grad():
            below = in_units(x, self.stream.project.weight.dtype)
            for number in range(self.number):
                below = self.stream.layer(number, below)
            return below

    def reconstruct(self, below: Tensor) -> Tensor:
        """Return what the layer and its mirror make of ``below``, a target or a corrupted one."""
        mirror = len(self.decoder.layers) - 1 - self.number
        return self.decoder.layer(mirror, self.stream.layer(self.number, below))

    def losses(self, x: Tensor, *, variance: float, drop: float, generator: Generator) -> Tensor:
        """Return the loss of each sample ``(B,)``: a corrupted target must give the clean one.

        Args:
            x: the stage's modality of samples that have it, bytes or floats as the encoder takes them.
            variance: of the target over the dataset (`Moments`), which scales the loss.
            drop: share of the target's values that are set to 0.
            generator: of the corruption.
        """
        target = self.target(x)
        output = self.reconstruct(drop_values(target, drop, generator))
        return reconstruction(output, target, variance=variance)


def greedy_stages(autoencoder: TwoStreamAutoencoder) -> Iterator[Stage]:
    """Yield the stages of both streams in the order in which to train them: video from below, then audio.

    The joint code and what leads from it into the decoders is left for the training of the whole.

    Raises:
        ValueError: if a stream is not dense.

    Source: Vincent et al. (2010), Stacked denoising autoencoders. Differs: the decoders' layers are kept.
    """
    encoder = autoencoder.encoder
    streams = {"video": (VIDEO, encoder.video), "audio": (AUDIO, encoder.audio)}
    for name, (modality, stream) in streams.items():
        decoder = getattr(autoencoder, name)
        if not isinstance(stream, DenseStream):
            raise ValueError(
                f"greedy pre-training goes layer by layer through dense streams, got {type(stream).__name__} "
                f"for {name}: set encoder.{name}_stream to dense"
            )
        for number in range(len(stream.layers)):
            yield Stage(modality, stream, decoder, number)
