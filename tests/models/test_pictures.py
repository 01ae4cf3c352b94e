"""How pictures are standardised: the statistics by hand, black pictures, and what is fixed when."""

import math

import pytest
import torch
from torch.nn import functional

from spl.models.autoencoder import TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.pictures import PictureNorm, StandardisedConv2d
from spl.models.streams import VIDEO_STREAMS, VideoStream
from spl.records import StreamSpec

SPEC = StreamSpec((1, 36, 36), (1, 16, 4))


def picture(*levels: int) -> torch.Tensor:
    """Return a picture ``(1, 1, W)`` of these levels."""
    return torch.tensor(levels, dtype=torch.uint8)[None, None]


def seen(*pictures: torch.Tensor) -> PictureNorm:
    norm = PictureNorm(tuple(pictures[0].shape))  # type: ignore[arg-type]
    for one in pictures:
        norm.update(one)
    return norm


def read(norm: PictureNorm, video: torch.Tensor) -> torch.Tensor:
    """Return ``video (B, T, C, H, W)`` as a convolution reads it, ``(B, T C, H, W)``: what passes one on."""
    num = video.shape[1] * video.shape[2]
    passes = StandardisedConv2d(num, num, 1, bias=False, norm=norm).to(norm.mean.dtype)
    with torch.no_grad():
        passes.weight.copy_(torch.eye(num)[..., None, None])
    found: torch.Tensor = passes(video.flatten(1, 2))
    return found.detach()


def test_the_statistics_by_hand() -> None:
    norm = PictureNorm((1, 1, 2))
    video = torch.stack([picture(255, 51), picture(0, 255)])[None]  # (1, 2, 1, 1, 2)
    assert read(norm, video).flatten().tolist() == pytest.approx([1.0, 0.2, 0.0, 1.0]), (
        "0..1 before any was seen"
    )
    norm.update(picture(255, 51))
    assert norm.mean.flatten().tolist() == pytest.approx([1.0, 0.2])
    assert float(norm.variance) == 0
    for one in (picture(0, 51), picture(255, 51), picture(0, 51)):
        norm.update(one)
    # the pixels' means are 1/2 and 1/5, their variances 1/4 and 0, and 1/8 is the mean of these
    assert norm.mean.flatten().tolist() == pytest.approx([0.5, 0.2])
    assert float(norm.variance) == pytest.approx(0.125)
    expected = [0.5 / math.sqrt(0.125), 0.0, -0.5 / math.sqrt(0.125), 0.8 / math.sqrt(0.125)]
    assert read(norm, video).flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_pictures_that_never_change_are_0_and_a_grey_level_is_1() -> None:
    norm = seen(picture(100, 7), picture(100, 7))
    assert read(norm, picture(100, 7)[None, None]).flatten().tolist() == pytest.approx([0.0, 0.0], abs=1e-4)
    assert read(norm, picture(101, 5)[None, None]).flatten().tolist() == pytest.approx([1.0, -2.0], abs=1e-4)


def test_a_black_picture_is_none_is_not_counted_and_read_as_1() -> None:
    norm = seen(picture(200, 100), picture(0, 0), picture(100, 100))
    assert norm.mean.flatten().tolist() == pytest.approx([150 / 255, 100 / 255])
    stack = torch.stack([picture(0, 0), picture(200, 0)])[None]
    found = read(norm, stack)
    assert found[0, 0].flatten().tolist() == pytest.approx([1.0, 1.0])
    assert found[0, 1].flatten().tolist() == pytest.approx([math.sqrt(2), -2 * math.sqrt(2)], abs=1e-4)
    assert read(PictureNorm((1, 1, 2)), stack)[0, 0].flatten().tolist() == [0.0, 0.0], "before any was seen"


def test_a_network_saved_when_a_black_picture_was_0_keeps_the_0() -> None:
    norm, earlier = PictureNorm((1, 1, 2)), seen(picture(200, 100)).state_dict()
    del earlier["blank"]
    norm.load_state_dict(earlier)
    assert read(norm, picture(0, 0)[None, None]).flatten().tolist() == [0.0, 0.0]
    later = PictureNorm((1, 1, 2))
    later.load_state_dict(norm.state_dict())
    assert float(later.blank) == 0, "saved again, it still does"


def test_what_is_fixed_moves_no_more() -> None:
    norm = seen(picture(200, 100), picture(100, 100))
    before = read(norm, picture(7, 9)[None, None])
    norm.fix()
    norm.update(picture(9, 250))
    assert torch.equal(read(norm, picture(7, 9)[None, None]), before)
    norm.fix(torch.tensor([[[0.25, 0.5]]]), 0.04)
    assert read(norm, picture(255, 255)[None, None]).flatten().tolist() == pytest.approx([3.75, 2.5])
    unseen = PictureNorm((1, 1, 2))
    unseen.fix()
    assert read(unseen, picture(51, 255)[None, None]).flatten().tolist() == pytest.approx([0.2, 1.0])


@pytest.mark.parametrize("has_black", [False, True], ids=["", "black"])
def test_learning_and_acting_read_the_same(has_black: bool) -> None:
    torch.manual_seed(0)
    video = torch.randint(1, 256, (5, 2, 3, 12, 10), dtype=torch.uint8)
    norm = seen(*video[:, 0])
    if has_black:
        video[3, 0] = 0
    learned = read(norm, video)
    with torch.no_grad():
        acted = read(norm, video)
    assert torch.equal(learned, acted)
    assert learned.shape == (5, 6, 12, 10)
    low = PictureNorm((3, 12, 10))
    low.load_state_dict(norm.state_dict())
    assert (read(low.to(torch.bfloat16), video).float() - learned).abs().max() < 0.06  # of values up to 2


@pytest.mark.parametrize(("padding", "channels"), [(0, 1), (1, 3)])
def test_a_convolution_reads_what_the_formula_says(padding: int, channels: int) -> None:
    torch.manual_seed(0)
    video = torch.randint(100, 140, (5, 2, channels, 20, 18), dtype=torch.uint8)
    norm = seen(*video[:, 0])
    video[3, 0] = video[4] = 0
    conv = StandardisedConv2d(2 * channels, 6, 5, 2, padding, norm=norm)
    pictures = (video / 255 - norm.mean) / norm.variance.sqrt()
    pictures[3, 0] = pictures[4] = 1
    expected = functional.conv2d(pictures.flatten(1, 2), conv.weight, conv.bias, 2, padding)
    found = conv(video.flatten(1, 2))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad((found**2).sum(), conv.weight)
    (right,) = torch.autograd.grad((expected**2).sum(), conv.weight)
    torch.testing.assert_close(gradient, right, atol=1e-2, rtol=1e-3)


def test_a_stream_that_standardises_ignores_how_bright_and_how_strong_pictures_are() -> None:
    torch.manual_seed(0)
    video = torch.randint(1, 60, (40, 2, 1, 36, 36), dtype=torch.uint8)
    features = []
    for pictures in (video, 3 * video + 60):
        torch.manual_seed(1)
        stream = VideoStream(
            (1, 36, 36),
            history=2,
            layers=VIDEO_STREAMS["small"],
            attention="none",
            features=9,
            standardise=True,
        )
        assert stream.norm is not None
        for one in pictures[:, 0]:
            stream.norm.update(one)
        features.append(stream(pictures))
    torch.testing.assert_close(features[0], features[1], atol=1e-3, rtol=1e-3)


def test_pretraining_gives_the_statistics_and_fixes_them() -> None:
    encoder = build_encoder(EncoderConfig(standardise_video=True, attention="none"), SPEC, history=2)
    autoencoder = TwoStreamAutoencoder(encoder)
    mean = torch.stack([torch.full((1, 36, 36), 0.25), torch.full((1, 36, 36), 0.75)])
    autoencoder.begin_with(mean, torch.full((2, 1, 16, 4), 0.5), 0.04)
    assert isinstance(encoder.video, VideoStream)
    norm = encoder.video.norm
    assert norm is not None
    norm.update(torch.full((1, 36, 36), 9, dtype=torch.uint8))
    white = read(norm, torch.full((1, 2, 1, 36, 36), 255, dtype=torch.uint8))
    torch.testing.assert_close(white, torch.full_like(white, 0.5 / 0.2))


def test_a_dense_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="standardise_video is of convolutions"):
        EncoderConfig(standardise_video=True, video_stream="dense")
