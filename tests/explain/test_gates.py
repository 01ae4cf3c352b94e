"""Gates of channel attention within a layer: which they are, and that they are drawn."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spl.explain.gates import draw_gates, gates_of
from spl.models.image.networks import build_network


def subject(name: str, layer: str, attention: str) -> SimpleNamespace:
    torch.manual_seed(0)
    model = build_network(name, num_classes=3, attention=attention).eval()
    classifier = SimpleNamespace(inputs=lambda images: images.float() / 255)
    return SimpleNamespace(model=model, classifier=classifier, layer=layer, name="a run")


@pytest.mark.parametrize(
    ("name", "layer", "attention", "shape", "num_others"),
    [
        ("resnet20", "layer1", "se", (3, 4, 16), 0),
        ("resnet18", "layer4", "cbam", (2, 4, 512), 0),  # at 1 x 1 its maps of positions look like gates
        ("resnet18", "layer4", "ham", (2, 4, 512), 0),
        ("resnet20", "layer1.1.attention", "se", (1, 4, 16), 0),
        ("resnet20", "layer1.1.attention.channel", "cbam", (1, 4, 16), 0),
        ("mobilenet_v3_small", "features", "se", (3, 4, 96), 8),  # its blocks widen
    ],
)
def test_gates_of_channels_as_wide_as_the_last_are_drawn(
    name: str, layer: str, attention: str, shape: tuple[int, ...], num_others: int, tmp_path: Path
):
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    found = gates_of(subject(name, layer, attention), images, 3)
    assert found is not None
    assert (tuple(found.values.shape), found.num_others) == (shape, num_others)
    draw_gates([found], tmp_path / "gates.png")
    assert (tmp_path / "gates.png").stat().st_size > 5_000
