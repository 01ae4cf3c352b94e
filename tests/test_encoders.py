"""The two streams and their fusion: shapes, the paper's counts, and what an absent sense may change."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spl.encoders import (
    AUDIO_STREAM,
    AUDIO_STREAMS,
    VIDEO_STREAMS,
    AudioMlp,
    AudioStream,
    ByteConv2d,
    Conv,
    EncoderConfig,
    TwoStreamEncoder,
    VideoStream,
    as_floats,
    conv_stream,
)
from spl.records import StreamSpec

MDQN = json.loads((Path(__file__).parent / "data" / "mdqn.json").read_text())["stream"]
SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 16, 4))
WAVEFORM = SPEC._replace(audio=(1, 1, 64), audio_dtype="int8")
SIZES: dict[str, Any] = {"video_features": 12, "audio_stream": "conv", "audio_features": 10, "features": 14}


def make(spec: StreamSpec = SPEC, **changes: Any) -> TwoStreamEncoder:
    torch.manual_seed(0)
    options = {"history": 2, "video_stream": "small", "attention": "csm", **SIZES, **changes}
    return TwoStreamEncoder(spec, **options)


def draw(spec: StreamSpec = SPEC, history: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(256, (3, history, *spec.video), dtype=torch.uint8, generator=generator)
    if spec.audio_dtype == "int8":
        size = (3, history, *spec.audio)
        return video, torch.randint(-128, 128, size, dtype=torch.int8, generator=generator)
    return video, torch.rand(3, history, *spec.audio, generator=generator).half()


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
    assert torch.equal(stream(audio), expected)
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


def test_gradient_reaches_every_parameter_of_a_perceptron() -> None:
    encoder = make(WAVEFORM, audio_stream="mlp")
    encoder(*draw(WAVEFORM), torch.ones(3, 2, dtype=torch.bool)).square().sum().backward()
    for name, parameter in encoder.audio.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_perceptron_of_four_chunks_has_2048_256_128() -> None:
    stream = AudioMlp((1, 1, 512), history=4, features=128)
    assert count(stream) == (2048 + 1) * 256 + (256 + 1) * 128


def test_a_waveform_has_no_bands_to_convolve() -> None:
    message = r"audio_stream=conv reads several mel bands, got one, .* set --encoder\.audio_stream mlp"
    with pytest.raises(ValueError, match=message):
        make(WAVEFORM)


@pytest.mark.parametrize(
    ("spec", "built"),
    [
        (SPEC, (True, True)),
        (SPEC._replace(audio=(0, 0, 0)), (True, False)),
        (SPEC._replace(video=(0, 0, 0)), (False, True)),
    ],
    ids=["both", "video", "audio"],
)
def test_only_the_streams_that_exist_are_built(spec: StreamSpec, built: tuple[bool, bool]) -> None:
    encoder = make(spec)
    assert (encoder.video is not None, encoder.audio is not None) == built
    assert encoder.stream_features == (12 * built[0], 10 * built[1])
    assert encoder.fuse.in_features == 12 * built[0] + 10 * built[1] + 2
    present = torch.tensor([built] * 3)
    assert encoder(*draw(spec), present).shape == (3, 14)
    streams = encoder.streams(*draw(spec), present)
    assert tuple(stream is not None for stream in streams) == built


@pytest.mark.parametrize(("sense", "present"), [(0, (False, True)), (1, (True, False))])
def test_an_absent_sense_cannot_influence_the_code(sense: int, present: tuple[bool, bool]) -> None:
    encoder = make()
    one, two = list(draw(seed=0)), list(draw(seed=0))
    two[sense] = draw(seed=1)[sense]
    flags = torch.tensor([present] * 3)
    assert torch.equal(encoder(*one, flags), encoder(*two, flags))
    features = encoder.streams(*one, flags)
    assert (features[sense] == 0).all()
    assert (features[1 - sense] != 0).any()
    both = torch.ones_like(flags)
    assert not torch.equal(encoder(*one, both), encoder(*two, both))


def test_the_code_knows_which_sense_is_absent() -> None:
    encoder = make()
    nn.init.zeros_(encoder.video.project.weight)
    nn.init.zeros_(encoder.video.project.bias)  # the features are 0 anyhow: only the flag is left
    codes = [encoder(*draw(), torch.tensor([[has_video, True]] * 3)).detach() for has_video in (True, False)]
    assert not torch.equal(*codes)


def test_a_sense_is_gated_in_each_sample_on_its_own() -> None:
    encoder = make()
    flags = torch.tensor([[True, True], [False, True], [True, False]])
    video, audio = draw()
    for row in range(3):
        alone = encoder(video[row : row + 1], audio[row : row + 1], flags[row : row + 1])
        torch.testing.assert_close(encoder(video, audio, flags)[row : row + 1], alone)


def test_gradient_reaches_every_parameter() -> None:
    encoder = make()
    nn.init.constant_(encoder.video.attention.spatial.gamma, 0.1)
    encoder(*draw(), torch.ones(3, 2, dtype=torch.bool)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        if name != "video.attention.spatial.key.bias":  # the softmax takes it away
            assert parameter.grad.abs().max() > 0, name


def test_parameter_count_of_the_fusion() -> None:
    encoder = make()
    assert count(encoder.fuse) == (12 + 10 + 2 + 1) * 14
    assert count(encoder) == count(encoder.video) + count(encoder.audio) + 350


def test_too_small_a_picture_says_what_to_do() -> None:
    message = r"too small for a convolution of 3 x 3 with stride 1: give a larger env\.video_size or another"
    with pytest.raises(ValueError, match=message):
        make(SPEC._replace(video=(1, 35, 36)))


@pytest.mark.parametrize("name", ["video_features", "audio_features", "features"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be positive, got 0"):
        EncoderConfig(**{name: 0})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_become_floats_with_channels_last_to_the_bit(dtype: torch.dtype) -> None:
    video = torch.randint(256, (3, 5, 9, 7), dtype=torch.uint8)
    for x in (video, video[:, 1:], video[:1, :1]):
        floats, expected = as_floats(x, dtype), x.to(dtype, memory_format=torch.channels_last)
        assert torch.equal(floats, expected)
        assert floats.is_contiguous(memory_format=torch.channels_last)
