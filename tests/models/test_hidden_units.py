"""Which layers of an autoencoder are hidden, what their units are, and that nothing is left behind."""

from typing import Any

import pytest
import torch

from spl.models.autoencoder import TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.hidden_units import hidden_layers, hidden_units
from spl.records import StreamSpec

SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 16, 4))
DENSE = {
    "video_stream": "dense",
    "audio_stream": "dense",
    "video_widths": (7, 6),
    "audio_widths": (5, 4),
    "attention": "none",
}


def autoencoder(**options: Any) -> TwoStreamAutoencoder:
    torch.manual_seed(0)
    config = EncoderConfig(video_features=12, audio_features=10, features=14, **options)
    return TwoStreamAutoencoder(build_encoder(config, SPEC, history=2))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    video = torch.randint(256, (3, 2, *SPEC.video), dtype=torch.uint8)
    return video, torch.rand(3, 2, *SPEC.audio).half(), torch.ones(3, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        (DENSE, [7, 6, 12, 5, 4, 10, 12, 6, 7, 10, 4, 5]),
        ({"audio_stream": "mlp"}, [12, 256, 10, 12, 32, 10, 256]),  # of 36 x 36 one position of 32 is left
        ({}, [12, 10, 12, 32, 10, 64]),
    ],
)
def test_the_hidden_layers_of_each_kind_of_stream(options: dict[str, Any], widths: list[int]) -> None:
    model = autoencoder(**options)
    assert [layer.out_features for layer in hidden_layers(model).values()] == widths


def test_units_are_what_the_next_layer_reads_and_the_hooks_are_gone() -> None:
    model, shown = autoencoder(**DENSE), batch()
    with hidden_units(model) as units:
        made = model(*shown)
    assert list(units) == list(hidden_layers(model))
    features = model.encoder.ungated(*shown[:2])
    assert torch.equal(units["encoder.video.2"], features[0])
    assert torch.equal(units["encoder.audio.2"], features[1])
    last = model.video.squash(model.video.output(units["decoder.video.2"])).reshape(made.video.shape)
    torch.testing.assert_close(last, made.video)
    assert all((layer >= 0).all() for layer in units.values())
    kept = {name: value.clone() for name, value in units.items()}
    model(*batch())
    assert all(torch.equal(units[name], value) for name, value in kept.items())
