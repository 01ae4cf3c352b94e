"""The autoencoder: shapes of whatever it reads, layers and parameters, what a hidden modality may change."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spl.models.autoencoder import (
    CONDITIONS,
    ConvDecoder,
    DenseDecoder,
    Modalities,
    TwoStreamAutoencoder,
    expand_conditions,
    mask,
    mirrored,
    unsquashed,
)
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.streams import VIDEO_STREAMS, conv_stream, in_units
from spl.records import StreamSpec
from spl.training.losses import over_modalities, reconstruction

CASE = json.loads((Path(__file__).parents[1] / "data" / "bdae.json").read_text())["augment"]
SPEC = StreamSpec(video=(1, 36, 36), audio=(1, 16, 4))
KINDS: dict[str, dict[str, Any]] = {
    "conv": {},
    "dense": {"video_stream": "dense", "audio_stream": "dense", "attention": "none"},
}


def make(spec: StreamSpec = SPEC, *, history: int = 2, **changes: Any) -> TwoStreamAutoencoder:
    torch.manual_seed(0)
    sizes = {"video_features": 12, "audio_features": 10, "features": 14}
    return TwoStreamAutoencoder(build_encoder(EncoderConfig(**{**sizes, **changes}), spec, history=history))


def draw(spec: StreamSpec = SPEC, *, history: int = 2, B: int = 3, seed: int = 0) -> Modalities:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(256, (B, history, *spec.video), dtype=torch.uint8, generator=generator)
    audio = torch.rand(B, history, *spec.audio, generator=generator).half()
    if spec.audio_dtype == "int8":
        audio = torch.randint(-128, 128, audio.shape, dtype=torch.int8, generator=generator)
    return Modalities(video, audio, torch.ones(B, 2, dtype=torch.bool))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("history", [1, 4])
@pytest.mark.parametrize(
    "spec",
    [
        StreamSpec(video=(1, 84, 84), audio=(1, 64, 8)),
        StreamSpec(video=(3, 36, 36), audio=(2, 16, 4)),
        StreamSpec(video=(3, 39, 47), audio=(2, 13, 3)),
        StreamSpec(video=(1, 41, 38), audio=(1, 1, 50), audio_dtype="int8"),
        StreamSpec(video=(1, 40, 40), audio=(2, 1, 51)),
    ],
    ids=["84", "36-colour-stereo", "odd", "waveform", "stereo-waveform"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_both_modalities_come_back_in_their_shapes_and_ranges(
    kind: str, spec: StreamSpec, history: int
) -> None:
    is_waveform = spec.audio[1] == 1
    options = {"audio_stream": "mlp"} if is_waveform and kind == "conv" else KINDS[kind]
    autoencoder = make(spec, history=history, **{**options, "attention": "none"})
    modalities = draw(spec, history=history)
    out = autoencoder(*modalities)
    assert out.video.shape == modalities.video.shape
    assert out.audio.shape == modalities.audio.shape
    assert out.code.shape == (3, 14)
    assert out.video.dtype == out.audio.dtype == torch.float32
    for decoder in (autoencoder.video, autoencoder.audio):  # far out, the ends of the range show
        last = decoder.output if isinstance(decoder, DenseDecoder) else decoder.layers[-1]
        nn.init.constant_(last.weight, 0.0)
        nn.init.constant_(last.bias, -1e3)
    out = autoencoder(*modalities)
    assert (out.video == 0).all()
    assert (out.audio == (-1 if is_waveform else 0)).all()
    for decoder in (autoencoder.video, autoencoder.audio):
        last = decoder.output if isinstance(decoder, DenseDecoder) else decoder.layers[-1]
        nn.init.constant_(last.bias, 1e3)
    out = autoencoder(*modalities)
    assert (out.video == 1).all()
    assert (out.audio == 1).all()


@pytest.mark.parametrize("size", [(s, s + d) for s in (110, 111, 112, 113, 118) for d in (0, 1, 7)])
@pytest.mark.parametrize("name", VIDEO_STREAMS)
def test_every_stack_is_mirrored_to_the_size_it_read(name: str, size: tuple[int, int]) -> None:
    convs, positions = conv_stream(2, size, VIDEO_STREAMS[name])
    x = torch.rand(1, 2, *size)
    deep = convs(x)
    layers, corner = mirrored(convs, size)
    assert deep.shape[2:] == corner
    assert math.prod(corner) == positions
    assert layers(deep).shape == x.shape
    kinds = [type(module) for module in layers if not isinstance(module, nn.Upsample)]
    assert kinds == [nn.ConvTranspose2d, nn.ReLU, nn.ConvTranspose2d, nn.ReLU, nn.ConvTranspose2d]


def test_the_mirror_of_a_convolution_by_hand() -> None:
    convs = nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.ReLU(), nn.MaxPool2d(2))
    layers, corner = mirrored(convs, (5, 4))
    assert corner == (1, 1)
    with torch.no_grad():
        layers[1].weight.copy_(torch.tensor([[1.0, 2], [3, 4]]))
        layers[1].bias.fill_(0.5)
    expected = [[2.5, 4.5] * 2, [6.5, 8.5] * 2] * 2 + [[0.5] * 4]  # the fifth row no convolution has seen
    assert layers(torch.full((1, 1, 1, 1), 2.0)).tolist() == [[expected]]


def test_steps_of_sound_come_back_where_they_were() -> None:
    autoencoder = make(SPEC._replace(audio=(2, 16, 4)), history=3)
    assert isinstance(autoencoder.audio, ConvDecoder)
    laid = torch.rand(5, 2, 16, 12)  # (B, C, M, T F)
    autoencoder.audio.layers, autoencoder.audio.squash = nn.Sequential(Give(laid)), nn.Identity()
    audio = autoencoder.audio(torch.rand(5, 14))
    again = torch.cat([audio[:, step] for step in range(3)], dim=3)
    assert torch.equal(again, laid)


@pytest.mark.parametrize("kind", KINDS)
def test_an_autoencoder_begins_with_the_means_by_hand(kind: str) -> None:
    autoencoder = make(**KINDS[kind])
    video, audio = torch.full((2, 1, 36, 36), 0.25), torch.full((2, 1, 16, 4), 0.5)
    video[1, 0, 35, 7], audio[0, 0, 3, 2] = 0.0, 0.75  # also where no convolution reaches, and never lit
    autoencoder.begin_with(video, audio)
    out = autoencoder(*draw())
    expected = video.clamp(min=0.001)
    torch.testing.assert_close(out.video, expected.expand_as(out.video), atol=0.01, rtol=0)
    torch.testing.assert_close(out.audio, audio.expand_as(out.audio), atol=0.01, rtol=0)
    again = make(**KINDS[kind])
    again.load_state_dict(autoencoder.state_dict())
    assert torch.equal(again(*draw()).video, out.video)


def test_what_is_unsquashed_by_hand() -> None:
    means = torch.tensor([0.0, 0.5, 0.75, 1.0])
    expected = torch.tensor([-math.log(999), 0.0, math.log(3), math.log(999)])
    torch.testing.assert_close(unsquashed(means, torch.sigmoid), expected, atol=1e-4, rtol=0)
    levels = torch.tensor([-1.0, 0.0, 0.6, 1.0])
    expected = torch.tensor([-math.log(1999) / 2, 0.0, math.log(2), math.log(1999) / 2])
    torch.testing.assert_close(unsquashed(levels, torch.tanh), expected, atol=1e-3, rtol=0)


class Give(nn.Module):
    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, x: Tensor) -> Tensor:
        return self.x


def test_dense_streams_have_eight_layers_counted_with_the_input() -> None:
    autoencoder = make(**KINDS["dense"])
    for stream, decoder in (
        (autoencoder.encoder.video, autoencoder.video),
        (autoencoder.encoder.audio, autoencoder.audio),
    ):
        assert 1 + len(stream.layers) == 4  # the input and three hidden layers
        assert len(decoder.layers) == 4  # three hidden layers and the output
        below = [layer.out_features for layer in stream.layers]
        assert [layer.out_features for layer in decoder.layers] == [*reversed(below), math.prod(stream.shape)]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_depth_is_free(depth: int) -> None:
    widths = tuple(range(20, 20 - depth, -1))
    autoencoder = make(**KINDS["dense"], video_widths=widths, audio_widths=widths)
    assert len(autoencoder.video.layers) == len(autoencoder.audio.layers) == depth + 2
    assert autoencoder(*draw()).video.shape == (3, 2, 1, 36, 36)


def test_parameters_of_a_dense_autoencoder_by_hand() -> None:
    autoencoder = make(**KINDS["dense"], video_widths=(30, 20), audio_widths=(8, 9))
    video = 2592 * 30 + 30 + 30 * 20 + 20 + 20 * 12 + 12  # 2 x 36 x 36 in
    audio = 128 * 8 + 8 + 8 * 9 + 9 + 9 * 10 + 10  # 2 x 16 x 4 in
    fuse = (12 + 10 + 2) * 14 + 14
    to_video = 14 * 12 + 12 + 12 * 20 + 20 + 20 * 30 + 30 + 30 * 2592 + 2592
    to_audio = 14 * 10 + 10 + 10 * 9 + 9 + 9 * 8 + 8 + 8 * 128 + 128
    assert count(autoencoder) == video + audio + fuse + to_video + to_audio == 163_128


def test_parameters_of_a_convolutional_decoder_by_hand() -> None:
    autoencoder = make()
    linear = (14 + 1) * 12 + (12 + 1) * 32  # 36 -> 8 -> 3 -> 1 pixel of 32 channels
    back = 32 * 32 * 9 + 32 + 32 * 16 * 16 + 16 + 16 * 2 * 64 + 2
    assert count(autoencoder.video) == linear + back


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_gradient_reaches_all_but_the_stream_of_a_hidden_modality(kind: str, condition: str) -> None:
    autoencoder = make(**KINDS[kind])
    if kind == "conv":
        nn.init.constant_(autoencoder.encoder.video.attention.spatial.gamma, 0.1)
    modalities = draw(B=16)
    out = autoencoder(*mask(*modalities, condition))
    losses = [
        reconstruction(made, in_units(clean), variance=1.0)
        for made, clean in ((out.video, modalities.video), (out.audio, modalities.audio))
    ]
    over_modalities(torch.stack(losses, dim=1), modalities.present, weights=(1, 1)).sum().backward()
    shown = dict(zip(("encoder.video", "encoder.audio"), CONDITIONS[condition], strict=True))
    for name, parameter in autoencoder.named_parameters():
        if name.endswith("spatial.key.bias"):  # the softmax takes it away
            continue
        is_reached = parameter.grad is not None and bool(parameter.grad.any())
        assert is_reached == all(shown[stream] for stream in shown if name.startswith(stream)), name


@pytest.mark.parametrize(("condition", "modality"), [("video", 1), ("audio", 0)])
def test_what_is_hidden_changes_nothing_but_the_target_stays(condition: str, modality: int) -> None:
    autoencoder = make()
    one, two = draw(seed=0), list(draw(seed=0))
    two[modality] = draw(seed=1)[modality]
    for first, second in zip(mask(*one, condition), mask(*two, condition), strict=True):
        assert torch.equal(first, second)
    out = autoencoder(*mask(*one, condition))
    assert out[modality].any(), "the hidden modality is reconstructed all the same"


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_an_autoencoder_of_one_modality_is_refused(modality: str) -> None:
    with pytest.raises(ValueError, match=f"needs both modalities, got data without {modality}"):
        make(SPEC._replace(**{modality: (0, 0, 0)}))


def as_modalities(case: dict[str, Any], suffix: str) -> tuple[Tensor, Tensor]:
    video = torch.tensor(case[f"video{suffix}"]).to(torch.uint8)[:, None, None, None]
    return video, torch.tensor(case[f"audio{suffix}"]).half()[:, None, None, None]


def test_expanding_gives_the_worked_out_rows() -> None:
    video, audio = as_modalities(CASE, "")
    views = expand_conditions(video, audio, torch.ones(2, 2, dtype=torch.bool))
    assert views.video.dtype == torch.uint8
    assert views.audio.dtype == torch.float16
    assert views.present.tolist() == [[True, True]] * 2 + [[True, False]] * 2 + [[False, True]] * 2
    video_in, audio_in = as_modalities(CASE, "_in")  # its order: video alone, audio alone, both
    order = torch.tensor([4, 5, 0, 1, 2, 3])
    assert torch.equal(views.video, video_in[order])
    assert torch.equal(views.audio, audio_in[order])
    targets = as_modalities(CASE, "_target")
    assert torch.equal(video.repeat(3, 1, 1, 1, 1), targets[0][order])
    assert torch.equal(audio.repeat(3, 1, 1, 1, 1), targets[1][order])


def test_conditions_may_differ_within_a_batch() -> None:
    modalities = draw()
    mixed = mask(*modalities, torch.tensor([2, 0, 1]))
    assert mixed.present.tolist() == [[False, True], [True, True], [True, False]]
    for row, name in enumerate(("audio", "both", "video")):
        for field, alone in zip(mixed, mask(*modalities, name), strict=True):
            assert torch.equal(field[row], alone[row])


def test_what_a_sample_lacks_no_condition_gives_back() -> None:
    present = torch.tensor([[True, False], [False, True], [False, False]])
    views = expand_conditions(*draw()[:2], present)
    assert views.present.tolist() == [
        *present.tolist(),
        *[[True, False], [False, False], [False, False]],
        *[[False, False], [False, True], [False, False]],
    ]
    assert not views.audio[[0, 2, 3, 4, 5, 6]].any()
    assert not views.video[[1, 2, 4, 5, 6, 7, 8]].any()


def test_an_unknown_condition_is_an_error() -> None:
    with pytest.raises(ValueError, match="condition must be one of both, video, audio, got 'none'"):
        mask(*draw(), "none")


def test_dense_streams_take_the_means_off_what_they_read() -> None:
    autoencoder = make(**KINDS["dense"])
    video, audio = torch.full((2, 1, 36, 36), 0.25), torch.full((2, 1, 16, 4), 0.5)
    autoencoder.begin_with(video, audio)
    features = autoencoder.encoder.video(video[None])
    assert torch.equal(features, torch.zeros_like(features))  # layers without an offset, until they learn one
    assert autoencoder.encoder.audio(torch.ones(1, *audio.shape)).any()
