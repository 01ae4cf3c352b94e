"""The autoencoder's decoders, which go on learning from replay while the agent learns on its encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spl.models.autoencoder import Decoder, TwoStreamAutoencoder
from spl.models.encoder import TwoStreamEncoder
from spl.models.streams import in_units
from spl.records import Batch
from spl.training.losses import over_modalities, reconstruction

MIN_VARIANCE = 1e-4  # of a modality in the first batch, which may show nothing that changes


class Decoders(nn.Module):
    """Both modalities from the codes of every view, measured as in pretraining: the mean costs about 1.

    Mean and variance are those of the first batch: what pretraining knows of a whole recording is not known
    while the agent still collects.

    Args:
        encoder: whose streams the decoders mirror; it stays the network's own.

    Raises:
        ValueError: if the encoder lacks a stream.
    """

    variances: Tensor  # (2,) of video and audio; 0 until the first batch was seen

    def __init__(self, encoder: TwoStreamEncoder) -> None:
        super().__init__()
        autoencoder = TwoStreamAutoencoder(encoder)
        self.video, self.audio = autoencoder.video, autoencoder.audio
        self.register_buffer("variances", torch.zeros(2))
        self.is_begun = False

    @torch.no_grad()
    def begin(self, batch: Batch) -> None:
        """Take the scale of both modalities from ``batch``, and let the decoders predict about its mean."""
        for stream, (decoder, values) in enumerate(self._pairs(batch)):
            has = batch.present[:, stream]
            seen = in_units(values[has] if has.any() else values)  # (b, T, C, H, W)
            self.variances[stream] = seen.var(dim=0, correction=0).mean().clamp(min=MIN_VARIANCE)
            decoder.begin_with(seen.mean(dim=0))
        self.is_begun = True

    def load_state_dict(self, *args: object, **kwargs: object) -> object:
        """Go on from a state; whether it has begun is read from its variances."""
        found = super().load_state_dict(*args, **kwargs)  # type: ignore[arg-type]
        self.is_begun = bool((self.variances > 0).all())
        return found

    def losses(self, codes: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        """Return for each view's code ``(B, D)`` what is wrong in both modalities ``(B,)``.

        The mean over the modalities that the transition has, whichever of them the view shows.
        """
        targets = [in_units(values) for _, values in self._pairs(batch)]
        found = []
        for code in codes:
            errors = torch.stack(
                [
                    reconstruction(decoder(code.float()), target, variance=1.0)
                    for (decoder, _), target in zip(self._pairs(batch), targets, strict=True)
                ],
                dim=1,
            )  # (B, 2)
            found.append(over_modalities(errors / self.variances, batch.present, weights=(1.0, 1.0)))
        return found

    def _pairs(self, batch: Batch) -> list[tuple[Decoder, Tensor]]:
        return [(self.video, batch.video), (self.audio, batch.audio)]
