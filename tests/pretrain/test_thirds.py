"""A learning proof: only a model that is shown thirds tells one modality from the other."""

import seen_and_heard as toy
import torch
from torch import Tensor

from spl.models.autoencoder import CONDITIONS, Modalities, TwoStreamAutoencoder, expand_conditions, mask
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.streams import in_units
from spl.training.losses import over_modalities, reconstruction

CONFIG = EncoderConfig(
    video_stream="dense",
    audio_stream="dense",
    attention="none",
    video_widths=(64, 48),
    audio_widths=(64, 48),
    video_features=32,
    audio_features=32,
    features=32,
)


def train(views: bool, num_updates: int = 400) -> TwoStreamAutoencoder:
    """Train on every sample in all three conditions, or on both modalities alone."""
    torch.manual_seed(0)
    autoencoder = TwoStreamAutoencoder(build_encoder(CONFIG, toy.SPEC, history=1))
    modalities = toy.draw(1024, 0)
    variances = [toy.variance(x) for x in modalities]
    autoencoder.begin_with(*(in_units(x).mean(dim=0) for x in modalities))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    present = torch.ones(32, 2, dtype=torch.bool)
    for _ in range(num_updates):
        rows = torch.randint(1024, (32,), generator=generator)
        clean = (modalities[0][rows], modalities[1][rows])
        shown = expand_conditions(*clean, present) if views else Modalities(*clean, present)
        errors = cross_errors(autoencoder, shown, clean, variances)
        loss = over_modalities(errors, torch.ones_like(errors, dtype=torch.bool), weights=(1, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return autoencoder


def cross_errors(
    autoencoder: TwoStreamAutoencoder, shown: Modalities, clean: tuple[Tensor, Tensor], variances: list[float]
) -> Tensor:
    """The reconstruction errors ``(B, 2)`` of both modalities."""
    made = autoencoder(*shown)[:2]
    repeats = len(shown.video) // len(clean[0])
    targets = [in_units(x).repeat(repeats, 1, 1, 1, 1) for x in clean]
    return torch.stack(
        [reconstruction(*pair, variance=v) for *pair, v in zip(made, targets, variances, strict=True)], dim=1
    )


def test_only_thirds_teach_to_see_what_is_heard_and_to_hear_what_is_seen() -> None:
    clean, present = toy.draw(512, 1), torch.ones(512, 2, dtype=torch.bool)
    variances = [toy.variance(x) for x in toy.draw(1024, 0)]
    hidden = {}
    for views in (True, False):
        autoencoder = train(views)
        with torch.no_grad():
            errors = {
                name: cross_errors(autoencoder, mask(*clean, present, name), clean, variances).mean(dim=0)
                for name in CONDITIONS
            }
        assert errors["both"].max() < 0.9, "it does learn"
        hidden[views] = (errors["audio"][0].item(), errors["video"][1].item())
    assert hidden[True][0] < 0.85, "the spot's column is heard, its row is not"
    assert hidden[True][1] < 0.3, "the pitch is seen, the loudness is not"
    assert min(hidden[False]) > 1.0, "predicting the mean would be better"
