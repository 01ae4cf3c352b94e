"""Every corruption at both ends of its strength, between, and by hand; in every dtype and reproducibly."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from spl.data.corruptions import drop_values, gaussian_noise, mask_blocks, shift_in_time
from spl.models.streams import in_units


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def video(B: int = 64) -> Tensor:
    return torch.randint(1, 256, (B, 4, 3, 9, 7), dtype=torch.uint8, generator=seeded(1))


def levels(B: int = 64) -> Tensor:
    return (0.01 + 0.99 * torch.rand(B, 4, 2, 10, 5, generator=seeded(2))).half()


def waveform(B: int = 64) -> Tensor:
    return torch.randint(1, 128, (B, 4, 1, 1, 50), dtype=torch.int8, generator=seeded(3))


MODALITIES = {"video": video, "levels": levels, "waveform": waveform}
CORRUPTIONS = {
    "noise": lambda x, generator: gaussian_noise(x, 0.3, generator),
    "blocks": lambda x, generator: mask_blocks(x, 0.3, generator),
    "shift": lambda x, generator: shift_in_time(x, 2, generator),
    "drop": lambda x, generator: drop_values(x, 0.3, generator),
}
Corrupt = Callable[[Tensor, Generator], Tensor]


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_shape_dtype_and_range_stay_and_the_generator_decides(corrupt: Corrupt, modality: str) -> None:
    x = MODALITIES[modality]()
    clean = x.clone()
    once = corrupt(x, seeded())
    assert torch.equal(x, clean), "the clean sample is the target"
    assert (once.shape, once.dtype) == (x.shape, x.dtype)
    assert torch.equal(once, corrupt(x, seeded()))
    assert not torch.equal(once, corrupt(x, seeded(9)))
    assert not torch.equal(once, x)
    assert in_units(once).min() >= (-1 if modality == "waveform" else 0)
    assert in_units(once).max() <= 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_strength_changes_nothing(modality: str) -> None:
    x = MODALITIES[modality]()
    assert torch.equal(gaussian_noise(x, 0.0, seeded()), x)
    assert torch.equal(mask_blocks(x, 0.0, seeded()), x)
    assert torch.equal(shift_in_time(x, 0, seeded()), x)
    assert torch.equal(drop_values(x, 0.0, seeded()), x)


@pytest.mark.parametrize("modality", MODALITIES)
def test_full_strength_leaves_nothing(modality: str) -> None:
    x = MODALITIES[modality]()
    assert not mask_blocks(x, 1.0, seeded()).any()
    assert not drop_values(x, 1.0, seeded()).any()


@pytest.mark.parametrize("std", [0.01, 0.1])
def test_noise_has_the_strength_that_is_asked_for(std: float) -> None:
    middle = {
        "video": torch.full((200, 1, 1, 9, 7), 128, dtype=torch.uint8),
        "levels": torch.full((200, 1, 1, 9, 7), 0.5, dtype=torch.float16),
        "waveform": torch.zeros(200, 1, 1, 1, 63, dtype=torch.int8),
        "float waveform": torch.zeros(200, 1, 1, 1, 63, dtype=torch.float16),
    }
    for name, x in middle.items():
        added = in_units(gaussian_noise(x, std, seeded())) - in_units(x)
        assert added.std().item() == pytest.approx(std, rel=0.06), name  # bytes are rounded
        assert abs(added.mean().item()) < 0.1 * std, name


def test_endless_noise_gives_both_ends_of_the_range() -> None:
    ends = {video: [0, 255], levels: [0, 1], waveform: [-128, 127]}
    for draw, expected in ends.items():
        assert gaussian_noise(draw(), 1e6, seeded()).unique().tolist() == expected
    floats = torch.zeros(8, 1, 1, 1, 30)
    assert gaussian_noise(floats, 1e6, seeded()).unique().tolist() == [-1, 1]


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.99])
def test_a_block_of_a_picture_is_a_rectangle_in_all_steps_and_channels(fraction: float) -> None:
    hole = mask_blocks(video(), fraction, seeded()) == 0
    assert (hole == hole[:, :1, :1]).all()
    rows, columns = hole[:, 0, 0].any(dim=2), hole[:, 0, 0].any(dim=1)
    assert torch.equal(rows[:, :, None] & columns[:, None], hole[:, 0, 0])
    assert rows.sum(dim=1).unique().tolist() == [max(1, round(fraction * 9))]
    assert columns.sum(dim=1).unique().tolist() == [max(1, round(fraction * 7))]
    assert (rows.int().diff(dim=1) == 1).sum(dim=1).max() <= 1, "in one piece"
    assert rows.any(dim=0).all(), "every row is hidden in some sample"
    assert columns.any(dim=0).all()


def test_a_block_of_sound_lies_in_time_across_steps() -> None:
    hole = mask_blocks(levels(), 0.5, seeded()) == 0
    assert (hole == hole[:, :, :1]).all()
    laid = hole[:, :, 0].transpose(1, 2).flatten(2)  # (B, M, T F)
    assert laid.any(dim=2).sum(dim=1).unique().tolist() == [5]
    time = laid.any(dim=1)
    assert time.sum(dim=1).unique().tolist() == [10]
    assert ((time.int().diff(dim=1) == 1).sum(dim=1) + time[:, 0]).unique().tolist() == [1], "in one piece"
    hole = (mask_blocks(waveform(), 0.25, seeded()) == 0).flatten(1)
    assert hole.sum(dim=1).unique().tolist() == [50]


def test_pictures_shift_by_steps_by_hand() -> None:
    x = torch.arange(1, 4, dtype=torch.uint8).reshape(1, 3, 1, 1, 1).expand(200, 3, 1, 1, 1)
    rows = {tuple(row) for row in shift_in_time(x, 2, seeded()).flatten(1).tolist()}
    assert rows == {(3, 0, 0), (2, 3, 0), (1, 2, 3), (0, 1, 2), (0, 0, 1)}
    rows = {tuple(row) for row in shift_in_time(x, 1, seeded()).flatten(1).tolist()}
    assert rows == {(2, 3, 0), (1, 2, 3), (0, 1, 2)}


def test_sound_shifts_by_frames_across_steps_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0], [-1, -2]], [[3, 4], [-3, -4]]])[None, :, None].half()  # (1, T, C, M, F)
    shifted = shift_in_time(x.expand(50, 2, 1, 2, 2), 1, seeded())
    laid = {tuple(row) for row in shifted[:, :, 0].transpose(1, 2).flatten(2)[:, 0].tolist()}
    assert laid == {(2, 3, 4, 0), (1, 2, 3, 4), (0, 1, 2, 3)}
    assert torch.equal(shifted[..., 1, :], -shifted[..., 0, :]), "bands stay"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_shift_leaves_something(modality: str) -> None:
    x = MODALITIES[modality]()
    length = 4 if modality == "video" else 4 * x.shape[-1]
    shifted = shift_in_time(x, length - 1, seeded())
    assert shifted.flatten(1).any(dim=1).all()
    for wrong in (-1, length):
        with pytest.raises(ValueError, match=rf"max_shift must be in 0..{length - 1}, got {wrong}"):
            shift_in_time(x, wrong, seeded())


def test_values_are_lost_as_often_as_is_said() -> None:
    lost = drop_values(torch.ones(200, 100), 0.2, seeded()) == 0
    assert lost.float().mean().item() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("corrupt", [mask_blocks, drop_values])
@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_fractions_are_shares(corrupt: Callable[..., Tensor], fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"fraction must be in \[0, 1\], got {fraction}"):
        corrupt(video(), fraction, seeded())


def test_noise_is_not_negative() -> None:
    with pytest.raises(ValueError, match=r"std must not be negative, got -0\.1"):
        gaussian_noise(video(), -0.1, seeded())
