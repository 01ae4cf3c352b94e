"""Each stream on its own: shapes, the papers' counts, what is computed, and how many layers there are."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from spl.attention import attention_maps
from spl.models.pictures import ByteConv2d, as_floats
from spl.models.streams import (
    AUDIO_STREAM,
    AUDIO_STREAMS,
    VIDEO_STREAMS,
    AudioMlp,
    AudioStream,
    Conv,
    DenseStream,
    VideoStream,
    conv_stream,
    in_units,
    initialise,
)

MDQN = json.loads((Path(__file__).parents[1] / "data" / "mdqn.json").read_text())["stream"]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("attention", ["none", "csm"])
@pytest.mark.parametrize("name", VIDEO_STREAMS)
def test_every_video_stream_gives_features(name: str, attention: str) -> None:
    stream = VideoStream(
        (3, 110, 120), history=2, layers=VIDEO_STREAMS[name], attention=attention, features=9
    )
    video = torch.randint(256, (2, 2, 3, 110, 120), dtype=torch.uint8)
    features = stream(video)
    assert features.shape == (2, 9)
    assert features.dtype == torch.float32
    assert (features >= 0).all()


def test_the_nature_stream_on_84_pixels_leaves_7_by_7() -> None:
    convs, positions = conv_stream(4, (84, 84), VIDEO_STREAMS["nature"], ByteConv2d)
    assert positions == 49
    assert convs(torch.zeros(1, 4, 84, 84, dtype=torch.uint8)).shape == (1, 64, 7, 7)
    assert count(convs) == 8_224 + 32_832 + 36_928  # (64 C + 1) 32, (16 * 32 + 1) 64, (9 * 64 + 1) 64


@pytest.mark.parametrize(("name", "channels"), [("nature", 64), ("small", 32)])
def test_a_pooled_stream_leaves_a_fourth_of_the_positions(name: str, channels: int) -> None:
    convs, positions = conv_stream(4, (84, 84), VIDEO_STREAMS[f"{name}-pooled"], ByteConv2d)
    plain, _ = conv_stream(4, (84, 84), VIDEO_STREAMS[name], ByteConv2d)
    assert positions == 9
    assert convs(torch.zeros(1, 4, 84, 84, dtype=torch.uint8)).shape == (1, channels, 3, 3)
    assert count(convs) == count(plain)


def test_the_mdqn_stream_has_the_shapes_and_the_count_of_its_code() -> None:
    history, rows, columns = MDQN["input"]
    stream = VideoStream(
        (1, rows, columns),
        history=history,
        layers=VIDEO_STREAMS["mdqn"],
        attention="none",
        features=MDQN["fc"],
    )
    x, shapes = torch.zeros(1, history, rows, columns, dtype=torch.uint8), []
    for module in stream.convs:
        x = module(x)
        if not isinstance(module, nn.ReLU):
            shapes.append(list(x.shape[1:]))
    assert shapes == [MDQN[name] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3")]
    assert count(stream) + count(nn.Linear(MDQN["fc"], MDQN["actions"])) == MDQN["params"] == 485_364


def gain(layer: nn.Module) -> float:
    """Return the standard deviation of a layer's weights times the root of its inputs a unit."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert layer.bias is not None
    assert (layer.bias == 0).all()
    return float(layer.weight.detach().std() * layer.weight[0].numel() ** 0.5)


def test_weights_are_drawn_with_the_gain_asked_for() -> None:
    torch.manual_seed(0)
    assert gain(initialise(nn.Linear(600, 400))) == pytest.approx(1.0, rel=0.01)
    assert gain(initialise(nn.Linear(600, 400), "relu")) == pytest.approx(2**0.5, rel=0.01)
    assert gain(initialise(nn.Conv2d(20, 400, 5))) == pytest.approx(1.0, rel=0.01)
    x = torch.randn(1000, 600)
    with torch.no_grad():
        assert initialise(nn.Linear(600, 400))(x).std().item() == pytest.approx(1.0, rel=0.02)


def test_every_layer_of_every_stream_keeps_the_size_of_what_passes() -> None:
    torch.manual_seed(0)
    seen = [
        VideoStream((3, 110, 110), history=2, layers=layers, attention="none", features=300)
        for layers in VIDEO_STREAMS.values()
    ]
    heard = [build((1, 64, 8), history=4, features=300) for build in AUDIO_STREAMS.values()]
    for stream in (*seen, *heard):
        layers = [module for module in stream.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        assert len(layers) >= 2
        assert [gain(layer) for layer in layers] == pytest.approx([1.0] * len(layers), rel=0.15)
    dense = DenseStream((1, 8, 8), history=4, widths=(300, 300), features=300)
    assert [gain(layer) for layer in dense.layers] == pytest.approx([2**0.5] * 3, rel=0.15)


def test_a_convolution_of_bytes_is_that_of_the_picture_between_0_and_1() -> None:
    torch.manual_seed(0)
    layer = ByteConv2d(3, 5, 4, 2, 1)
    x = torch.randint(256, (2, 3, 12, 10), dtype=torch.uint8)
    expected = functional.conv2d(x.float() / 255, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected)
    layer.weight.data.fill_(1.0)
    layer.bias.data.fill_(0.5)
    white = layer(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))
    assert white[0, 0, 0, 0].item() == pytest.approx(27.5)  # 3 x 3 x 3 inside the padding, and the bias


def test_a_video_stream_by_hand() -> None:
    layers = (Conv(channels=1, kernel=2, stride=1, padding=0, pool=2),)
    stream = VideoStream((1, 3, 3), history=1, layers=layers, attention="none", features=1)
    for parameter in stream.parameters():
        nn.init.ones_(parameter)
    video = torch.tensor([[0, 51, 0], [0, 102, 0], [255, 0, 0]], dtype=torch.uint8).reshape(1, 1, 1, 3, 3)
    # windows hold 153, 153, 357, 102; the largest is 357 / 255 + 1 = 2.4, and the projection adds 1
    assert stream(video).item() == pytest.approx(3.4, abs=1e-6)


def test_audio_steps_are_laid_end_to_end_in_time() -> None:
    torch.manual_seed(0)
    stream = AudioStream((2, 16, 4), history=3, features=7)
    audio = torch.rand(2, 3, 2, 16, 4).half()
    laid = torch.cat([audio[:, step] for step in range(3)], dim=3).float()  # (B, C, M, 3 F)
    expected = torch.relu(stream.project(stream.convs(laid).flatten(1)))
    torch.testing.assert_close(stream(audio), expected)
    assert expected.shape == (2, 7)
    assert not torch.equal(stream(audio.flip(1)), expected)
    sides = (2 * 2) * AUDIO_STREAM[-1].channels  # 16 -> 8 -> 4 -> 2 bands, 12 -> 6 -> 3 -> 2 frames
    assert stream.project.in_features == sides


@pytest.mark.parametrize("name", AUDIO_STREAMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_audio_stream_gives_features(name: str, channels: int) -> None:
    stream = AUDIO_STREAMS[name]((channels, 16, 4), history=3, features=7)
    features = stream(torch.rand(2, 3, channels, 16, 4).half())
    assert features.shape == (2, 7)
    assert features.dtype == torch.float32
    assert (features >= 0).all()


def test_a_perceptron_reads_bytes_as_128ths_by_hand() -> None:
    stream = AudioMlp((1, 1, 3), history=2, features=1)
    for parameter in stream.parameters():
        nn.init.zeros_(parameter)
    stream.hidden.weight.data[:2] = torch.tensor([[1.0, 2, 4, 8, 16, 32], [-1, 0, 0, 0, 0, 0]])
    stream.project.weight.data[0, :2] = torch.tensor([1.0, 100.0])
    stream.project.bias.data.fill_(0.5)
    audio = torch.tensor([[64, 0, 0], [0, -32, 127]], dtype=torch.int8).reshape(1, 2, 1, 1, 3)
    # 0.5 * 1 - 0.25 * 16 + 127/128 * 32 = 28.25; the second unit's -0.5 is cut to 0
    assert stream(audio).item() == 28.75
    assert stream((audio / 128).half()).item() == 28.75  # full scale is 1 in every other kind


def test_a_perceptron_of_four_chunks_has_2048_256_128() -> None:
    stream = AudioMlp((1, 1, 512), history=4, features=128)
    assert count(stream) == (2048 + 1) * 256 + (256 + 1) * 128


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_become_floats_with_channels_last_to_the_bit(dtype: torch.dtype) -> None:
    video = torch.randint(256, (3, 5, 9, 7), dtype=torch.uint8)
    for x in (video, video[:, 1:], video[:1, :1]):
        floats, expected = as_floats(x, dtype), x.to(dtype, memory_format=torch.channels_last)
        assert torch.equal(floats, expected)
        assert floats.is_contiguous(memory_format=torch.channels_last)


def test_bytes_and_floats_have_the_units_of_their_modality() -> None:
    video = in_units(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(video, torch.tensor([0, 0.2, 1]))
    assert in_units(torch.tensor([-128, 0, 64, 127], dtype=torch.int8)).tolist() == [-1, 0, 0.5, 127 / 128]
    levels = in_units(torch.tensor([0.25, 1], dtype=torch.float16))
    assert levels.dtype == torch.float32
    assert levels.tolist() == [0.25, 1]


@pytest.mark.parametrize("widths", [(), (7,), (7, 6), (8, 7, 6, 5)])
def test_a_dense_stream_has_two_layers_more_than_widths(widths: tuple[int, ...]) -> None:
    stream = DenseStream((2, 5, 3), history=4, widths=widths, features=9)
    assert [layer.out_features for layer in stream.layers] == [*widths, 9]
    sizes = [4 * 2 * 5 * 3, *widths, 9]
    assert count(stream) == sum((a + 1) * b for a, b in pairwise(sizes))
    features = stream(torch.rand(6, 4, 2, 5, 3).half())
    assert features.shape == (6, 9)
    assert features.dtype == torch.float32
    assert (features >= 0).all()


def test_a_dense_stream_by_hand() -> None:
    stream = DenseStream((1, 1, 2), history=2, widths=(2,), features=1)
    for parameter in stream.parameters():
        nn.init.zeros_(parameter)
    stream.hidden[0].weight.data[:] = torch.tensor([[1.0, 2, 3, 4], [-1, -1, -1, -1]])
    stream.project.weight.data[:] = torch.tensor([[2.0, 100.0]])
    stream.project.bias.data.fill_(0.5)
    video = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(1, 2, 1, 1, 2)
    assert stream(video).item() == pytest.approx(2 * (0.4 + 1.2 + 4) + 0.5)  # the second unit is cut to 0
    waveform = torch.tensor([0, 64, -64, 32], dtype=torch.int8).reshape(1, 2, 1, 1, 2)
    assert stream(waveform).item() == pytest.approx(2 * (1 - 1.5 + 1) + 0.5)


def test_the_attention_of_a_dense_stream_looks_at_its_pictures() -> None:
    torch.manual_seed(0)
    stream = DenseStream((3, 5, 4), history=2, widths=(7,), features=9, attention="csm")
    nn.init.constant_(stream.attention.spatial.gamma, 0.3)  # 0 would hide the positions
    nn.init.constant_(stream.attention.channel.reduce.weight, 0.2)  # its only unit, which must not be silent
    video = torch.randint(256, (2, 2, 3, 5, 4), dtype=torch.uint8)
    with attention_maps(stream) as maps:
        features = stream(video)
    assert {tuple(found.shape) for found in maps.values()} == {(2, 6, 1, 1), (2, 20, 20)}  # T C; H W
    plain = video.flatten(1, 2) / 255
    expected = 2 * stream.attention(plain).flatten(1)  # its gate starts at a half
    for layer in (stream.hidden[0], stream.project):
        expected = torch.relu(layer(expected))
    torch.testing.assert_close(features, expected)
    features.square().sum().backward()
    for name, parameter in stream.named_parameters():
        if name != "attention.spatial.key.bias":  # the softmax takes it away
            assert parameter.grad.abs().max() > 0, name
