"""A spot planted in picture or sound is found where it is, by every stream and network.

Weights are even and positive, so that a feature answers most to what lies in the middle of its receptive
field, and what is tested is where maps lie, not what a network has learned. Beyond the outermost centres no
feature has its middle: a spot there is shown at the outermost one.
"""

import pytest
import torch
from torch import Tensor, nn

from spl.agents.q_network.network import MultimodalQNetwork
from spl.attention import attention_maps
from spl.attention import plot as picture
from spl.attention.ham import PositionGate
from spl.attention.plot import draw_attention
from spl.explain.two_streams import AsPictures, last_with_places
from spl.models.autoencoder import TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.image.resnet import build_resnet
from spl.models.streams import AUDIO_STREAM, VIDEO_STREAMS, conv_stream
from spl.receptive_fields.placement import LAST, Placement, placement_of
from spl.records import StreamSpec
from spl.saliency import METHODS, attention_map, chosen, grad_cam
from spl.saliency.layers import onto

SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.62, 0.8, 0.9, 1.0)  # of the way down and across


def even_weights(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 1 / module.in_features)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return model.eval()


def spots(channels: int, size: tuple[int, int], width: int = 3) -> tuple[Tensor, Tensor]:
    """Return pictures ``(N, C, H, W)``, each with a spot, and their middles ``(N, 2)``."""
    far = width // 2
    middles = [
        [far + round(share * (side - 1 - 2 * far)) for share, side in zip(pair, size, strict=True)]
        for pair in [(one, one) for one in SHARES] + [(one, 1 - one) for one in SHARES]
    ]
    x = torch.zeros(len(middles), channels, *size)
    for number, (row, column) in enumerate(middles):
        x[number, :, row - far : row + far + 1, column - far : column + far + 1] = 1
    return x, torch.tensor(middles).float()


def tops(maps: Tensor) -> Tensor:
    """Return the first and last row and column ``(N, 2, 2)`` of the highest places of maps ``(N, H, W)``."""
    highest = [(one > 1 - 1e-4).nonzero() for one in maps]
    return torch.stack([torch.stack([one.amin(dim=0), one.amax(dim=0)], dim=1) for one in highest]).float()


def check(maps: Tensor, middles: Tensor, placement: Placement, least: int = 2 * len(SHARES)) -> None:
    """Fail unless every spot is found within half a jump of it, or of the outermost centre before it."""
    is_seen = maps.amax(dim=(1, 2)) == 1  # at the last pixels some strides leave nothing looks
    assert is_seen.sum() >= least
    found = tops(maps[is_seen])
    for which, centres in enumerate(placement[:2]):
        jump = centres[1] - centres[0]
        first, last = found[:, which].unbind(dim=1)
        assert (last - first).max() <= 1.5 * jump + 1, "the top is as wide as two features, half beyond one"
        expected = middles[is_seen, which].clamp(min(centres), max(centres))
        far = torch.maximum(first - expected, expected - last).clamp(min=0)
        assert far.max() <= jump / 2, (far.tolist(), expected.tolist())


class Energy(nn.Module):
    """How much a stream answers at all."""

    def __init__(self, convs: nn.Sequential) -> None:
        super().__init__()
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x).square().sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("nature", (84, 84)),
        ("small", (84, 84)),
        ("small", (36, 36)),
        ("small", (60, 80)),
        ("mdqn", (198, 198)),
        ("audio", (64, 32)),
        ("audio", (40, 60)),
        ("audio", (64, 96)),
    ],
)
def test_every_stream_finds_a_planted_spot(name, size):
    convs, _ = conv_stream(2, size, AUDIO_STREAM if name == "audio" else VIDEO_STREAMS[name])
    model = even_weights(Energy(convs))
    x, middles = spots(2, size)
    layer = last_with_places(convs, size)
    check(grad_cam(model, layer, x, chosen(0)), middles, placement_of(model, layer, [x]), least=14)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet20", "layer2"), ("resnet20", "layer3"), ("wrn16-8", "layer3"), ("resnext29-8x64d", "layer3")],
)
def test_every_network_finds_a_planted_spot(name, layer):
    torch.manual_seed(0)
    network = even_weights(build_resnet(name, num_classes=2))
    x, middles = spots(3, (32, 32))
    x, middles = x[::3], middles[::3]  # each takes a while
    place = network.get_submodule(layer)
    maps = grad_cam(network, layer, x, chosen(0))
    check(maps, middles, placement_of(network, place, [x]), least=len(x))


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam"])
@pytest.mark.parametrize("video", ["small", "nature"])
def test_an_agent_finds_planted_spots_and_tones(method, video):
    spec = StreamSpec((1, 84, 84), (1, 64, 16))
    config = EncoderConfig(video_stream=video, attention="none")
    network = even_weights(
        MultimodalQNetwork(build_encoder(config, spec, history=2), (3,), dueling=False, fusion="joint")
    )
    model = AsPictures(network, 2)
    pictures, middles = spots(2, (84, 84))
    strips, tones = spots(1, (64, 32))
    present = torch.ones(len(pictures), 2, dtype=torch.bool)
    seen, heard = METHODS[method](model, model.layers, (pictures, strips, present), chosen(0))
    for place, (maps, where) in enumerate(((seen, middles), (heard, tones))):
        layer = model.layers[place]
        check(maps, where, placement_of(model, layer, (pictures, strips, present), place))


def test_an_autoencoder_finds_planted_spots_and_tones():
    spec = StreamSpec((1, 84, 84), (1, 64, 16))
    network = even_weights(
        TwoStreamAutoencoder(build_encoder(EncoderConfig(attention="none"), spec, history=2))
    )
    model = AsPictures(network, 2)
    pictures, middles = spots(2, (84, 84))
    strips, tones = spots(1, (64, 32))
    given = (pictures, strips, torch.ones(len(pictures), 2, dtype=torch.bool))
    maps = grad_cam(
        model, model.layers, given, lambda made: made.video.flatten(1).sum(1) + made.audio.flatten(1).sum(1)
    )
    for place, where in enumerate((middles, tones)):
        check(maps[place], where, placement_of(model, model.layers[place], given, place))


def test_an_even_spread_would_not_pass():
    """The test of the tests: features of streams without padding lie nearer to the middle."""
    convs, _ = conv_stream(1, (84, 84), VIDEO_STREAMS["small"])
    model = even_weights(Energy(convs))
    x, middles = spots(1, (84, 84))
    with torch.no_grad():
        answers = convs(x).sum(dim=1)  # (N, h, w)
    placement = placement_of(model, convs[-1], [x])
    check(onto(answers, (84, 84), placement), middles, placement)
    with pytest.raises(AssertionError):
        check(onto(answers, (84, 84)), middles, placement)


class ChannelsLast(nn.Module):
    """Patches as ``(B, H, W, C)``, as Swin and ConvNeXt have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)
        self.last = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.second(self.first(x)).permute(0, 2, 3, 1))  # (B, h, w, C)
        return x.square().sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "score-cam", "layer-cam"])
def test_a_layer_with_channels_last_finds_a_planted_spot(method):
    model = even_weights(ChannelsLast())
    x, middles = spots(1, (40, 60))
    placement = placement_of(model, model.last, [x])
    assert placement.axes == LAST
    check(METHODS[method](model, "last", x, chosen(0)), middles, placement)


class Gated(nn.Module):
    """Attention to positions, each by what is there, behind a convolution without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.attention = nn.Conv2d(1, 1, 9, 4), PositionGate()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x * self.attention(x)).sum(dim=(1, 2, 3))[:, None]


def test_attention_lies_where_its_features_do(tmp_path):
    model = even_weights(Gated())
    x, middles = spots(1, (41, 61))
    placement = placement_of(model, model.conv, [x])
    check(attention_map(model, "attention", x, chosen(0)), middles, placement)
    with attention_maps(model) as maps:
        model(x)
    [column] = picture._columns(maps, x, model)
    assert column.placement == placement
    draw_attention(maps, tmp_path / "placed.png", images=x, model=model)
    draw_attention(maps, tmp_path / "even.png", images=x)
    assert (tmp_path / "placed.png").read_bytes() != (tmp_path / "even.png").read_bytes()
    with pytest.raises(ValueError, match="pass images, too"):
        draw_attention(maps, tmp_path / "no.png", model=model)
