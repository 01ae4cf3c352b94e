"""The fusion of the two streams: what is built, what an absent modality may change, what a config builds."""

from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from spl.attention import ATTENTION
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.models.encoder import EncoderConfig, TwoStreamEncoder, build_encoder
from spl.models.streams import DenseStream
from spl.records import AUDIO, VIDEO, StreamSpec

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


def test_gradient_reaches_every_parameter_of_a_perceptron() -> None:
    encoder = make(WAVEFORM, audio_stream="mlp")
    encoder(*draw(WAVEFORM), torch.ones(3, 2, dtype=torch.bool)).square().sum().backward()
    for name, parameter in encoder.audio.named_parameters():
        assert parameter.grad.abs().max() > 0, name


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


@pytest.mark.parametrize(("modality", "present"), [(0, (False, True)), (1, (True, False))])
def test_an_absent_modality_cannot_influence_the_code(modality: int, present: tuple[bool, bool]) -> None:
    encoder = make()
    one, two = list(draw(seed=0)), list(draw(seed=0))
    two[modality] = draw(seed=1)[modality]
    flags = torch.tensor([present] * 3)
    assert torch.equal(encoder(*one, flags), encoder(*two, flags))
    features = encoder.streams(*one, flags)
    assert (features[modality] == 0).all()
    assert (features[1 - modality] != 0).any()
    both = torch.ones_like(flags)
    assert not torch.equal(encoder(*one, both), encoder(*two, both))


def test_the_code_knows_which_modality_is_absent() -> None:
    encoder = make()
    nn.init.zeros_(encoder.video.project.weight)
    nn.init.zeros_(encoder.video.project.bias)  # the features are 0 anyhow: only the flag is left
    codes = [encoder(*draw(), torch.tensor([[has_video, True]] * 3)).detach() for has_video in (True, False)]
    assert not torch.equal(*codes)


def test_a_modality_is_gated_in_each_sample_on_its_own() -> None:
    encoder = make()
    flags = torch.tensor([[True, True], [False, True], [True, False]])
    video, audio = draw()
    for row in range(3):
        alone = encoder(video[row : row + 1], audio[row : row + 1], flags[row : row + 1])
        torch.testing.assert_close(encoder(video, audio, flags)[row : row + 1], alone)


def test_gradient_reaches_every_parameter() -> None:
    spec = SPEC._replace(video=(1, 52, 52))  # of whose positions nine are left to compare
    encoder = make(spec)
    nn.init.constant_(encoder.video.attention.spatial.gamma, 0.1)
    encoder(*draw(spec), torch.ones(3, 2, dtype=torch.bool)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        if name != "video.attention.spatial.key.bias":  # the softmax takes it away
            assert parameter.grad.abs().max() > 1e-8, name  # above what rounding leaves


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
    with pytest.raises(ValueError, match=rf"{name} must be at least 1, got 0"):
        EncoderConfig(**{name: 0})


DENSE: dict[str, Any] = {"video_stream": "dense", "audio_stream": "dense", "attention": "none"}


def test_sizes_and_widths_may_be_one() -> None:
    ones: dict[str, Any] = {"video_features": 1, "audio_features": 1, "features": 1}
    config = EncoderConfig(**DENSE, **ones, video_widths=(1,), audio_widths=(1,))
    assert build_encoder(config, SPEC, history=2).features == 1
    with pytest.raises(ValueError, match=r"video_widths must all be at least 1, got 0"):
        EncoderConfig(**DENSE, video_widths=(0, 1))


@pytest.mark.parametrize("spec", [SPEC, WAVEFORM, SPEC._replace(video=(3, 7, 5), audio=(2, 16, 1))])
def test_dense_streams_read_every_modality(spec: StreamSpec) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(**DENSE, audio_widths=(6, 5, 4)), spec, history=2)
    assert isinstance(encoder.video, DenseStream)
    assert isinstance(encoder.audio, DenseStream)
    assert [layer.out_features for layer in encoder.video.layers] == [512, 256, 256]
    assert [layer.out_features for layer in encoder.audio.layers] == [6, 5, 4, 128]
    assert encoder(*draw(spec), torch.ones(3, 2, dtype=torch.bool)).shape == (3, 256)


def test_a_config_builds_what_the_parts_would() -> None:
    config = EncoderConfig(video_features=12, audio_features=10, features=14, attention="eca")
    torch.manual_seed(0)
    encoder = build_encoder(config, SPEC, history=2)
    expected = make(attention="eca").state_dict()
    assert encoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in encoder.state_dict().items())


def test_the_names_in_an_agents_checkpoint_stay() -> None:
    assert list(make(audio_stream="mlp").state_dict()) == [
        *(f"video.convs.{place}.{kind}" for place in (0, 2, 4) for kind in ("weight", "bias")),
        *(f"video.attention.channel.{name}.weight" for name in ("reduce", "expand")),
        "video.attention.spatial.gamma",
        *(
            f"video.attention.spatial.{n}.{kind}"
            for n in ("key", "query", "value")
            for kind in ("weight", "bias")
        ),
        *(f"{name}.{kind}" for name in ("video.project", "audio.hidden") for kind in ("weight", "bias")),
        *(f"{name}.{kind}" for name in ("audio.project", "fuse") for kind in ("weight", "bias")),
    ]


def test_an_encoder_may_have_any_attention_but_that_of_stages() -> None:
    offered = set(get_args(get_type_hints(EncoderConfig)["attention"]))
    assert offered == set(ATTENTION) - {"shared"}
    for name in offered:
        encoder = make(attention=name)
        assert encoder(*draw(), torch.ones(3, 2, dtype=torch.bool)).shape == (3, 14)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize("video_stream", ["small", "dense"])
def test_options_reach_the_attention_of_either_video_stream(video_stream: str) -> None:
    options = {"order": "sam-cam", "reduction": 2}
    config = EncoderConfig(video_stream=video_stream, attention_options=options)
    attention = build_encoder(config, SPEC, history=2).video.attention
    channels = attention.channel.expand.weight.shape[0]
    assert attention.order == "sam-cam"
    assert attention.channel.reduce.weight.shape == (channels // 2, channels)


def test_the_activation_of_the_code() -> None:
    flags = torch.ones(3, 2, dtype=torch.bool)
    rectified, squashed = (make(code_activation=name)(*draw(), flags) for name in ("relu", "sigmoid"))
    assert (rectified == 0).any()
    torch.testing.assert_close(squashed[rectified > 0], torch.sigmoid(rectified[rectified > 0]))
    assert ((squashed > 0) & (squashed < 1)).all()
    config = EncoderConfig(code_activation="sigmoid")
    assert build_encoder(config, SPEC, history=2).code_activation == "sigmoid"


@pytest.mark.parametrize(("init", "gain"), [("scaled", 1.0), ("pytorch", 3**-0.5)])
def test_the_first_weights_of_both_streams(init: str, gain: float) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(video_stream="nature", audio_stream="mlp", init=init)
    encoder = build_encoder(config, StreamSpec((1, 84, 84), (1, 64, 8)), history=4)
    for layer in (encoder.video.convs[2], encoder.video.project, encoder.audio.hidden, encoder.audio.project):
        inputs = layer.weight[0].numel()
        assert layer.weight.detach().std().item() * inputs**0.5 == pytest.approx(gain, rel=0.03)
        drawn = layer.bias.detach().abs() * inputs**0.5  # of biases: 0, or uniform up to 1
        assert (drawn.max() <= 1 + 1e-6 and drawn.mean() > 0.3) if init == "pytorch" else not drawn.any()
    attention = encoder.video.attention.channel.reduce.weight.detach()
    assert attention.std().item() * attention[0].numel() ** 0.5 == pytest.approx(3**-0.5, rel=0.05)


def test_widths_come_from_the_command_line_and_only_with_a_dense_stream() -> None:
    config = parse(EncoderConfig, ["--video_stream", "dense", "--video_widths", "[64, 32]"], prog="spl")
    assert config.video_widths == (64, 32)
    with pytest.raises(
        UsageError, match=r"video_widths are those of a dense stream, got \(64,\) for the small"
    ):
        parse(EncoderConfig, ["--video_widths", "64"], prog="spl")
    with pytest.raises(ValueError, match=r"audio_widths must all be at least 1, got 0"):
        EncoderConfig(audio_stream="dense", audio_widths=(8, 0))


@pytest.mark.parametrize("streams", [("small", "conv"), ((5,), (4,)), ("small", "mlp")])
@pytest.mark.parametrize("lacking", [VIDEO, AUDIO])
def test_zeros_in_place_of_a_modality_are_read_as_a_stream_reads_them(streams, lacking) -> None:
    encoder = make(video_stream=streams[0], audio_stream=streams[1], absent="zeros")
    assert encoder.fuse.in_features == sum(encoder.stream_features)
    inputs = list(draw())
    present = torch.ones(3, 2, dtype=torch.bool)
    whole = encoder(*inputs, present)
    parts = torch.cat([encoder.video(inputs[0]), encoder.audio(inputs[1])], dim=1)
    torch.testing.assert_close(whole, torch.relu(encoder.fuse(parts)))
    blank = inputs.copy()
    blank[lacking] = torch.zeros_like(inputs[lacking])
    expected = encoder(*blank, present)
    present[:, lacking] = False
    torch.testing.assert_close(encoder(*inputs, present), expected)
    assert not torch.allclose(whole, expected)


def test_what_biases_make_of_zeros_reaches_the_code_only_without_gates() -> None:
    for absent, is_same in (("gate", True), ("zeros", False)):
        encoder = make(absent=absent)
        present = torch.tensor([[True, False]]).repeat(3, 1)
        before = encoder(*draw(), present)
        nn.init.constant_(encoder.audio.project.bias, 5.0)
        assert torch.equal(encoder(*draw(), present), before) is is_same
