"""What a blanked modality looks like, and the parts of a batch."""

import numpy as np
import pytest
import torch

from spl.records import AUDIO, VIDEO, Batch, Observation, StreamSpec


def observe(*leading: int) -> Observation:
    return Observation(
        np.full((*leading, 1, 3, 2), 9, np.uint8),
        np.full((*leading, 1, 2, 2), 0.5, np.float16),
        np.ones((*leading, 2), np.bool_),
    )


@pytest.mark.parametrize(
    ("video", "audio", "has"),
    [
        ((1, 3, 2), (1, 2, 2), (True, True)),
        ((0, 0, 0), (1, 2, 2), (False, True)),
        ((1, 3, 2), (1, 0, 2), (True, False)),
    ],
)
def test_a_stream_with_a_zero_is_lacking(
    video: tuple[int, int, int], audio: tuple[int, int, int], has: tuple[bool, bool]
) -> None:
    spec = StreamSpec(video, audio)
    assert (spec.has_video, spec.has_audio) == has
    assert spec.audio_dtype == "float16"


@pytest.mark.parametrize("leading", [(), (3,)], ids=["one", "three environments"])
@pytest.mark.parametrize("modalities", [(VIDEO,), (AUDIO,), (VIDEO, AUDIO), ()])
def test_without_blanks_and_flags_a_copy(modalities: tuple[int, ...], leading: tuple[int, ...]) -> None:
    whole = observe(*leading)
    blanked = whole.without(*modalities)
    for modality, (stream, before) in enumerate(zip(blanked[:2], whole[:2], strict=True)):
        assert np.array_equal(stream, np.zeros_like(before) if modality in modalities else before)
        assert stream.dtype == before.dtype
        assert (blanked.present[..., modality] == (modality not in modalities)).all()
    heard = whole._replace(audio=np.full_like(whole.audio, -7, np.int8)).without(*modalities).audio
    assert heard.dtype == np.int8
    assert (heard == (0 if AUDIO in modalities else -7)).all()
    assert whole.present.all()
    assert (whole.video == 9).all()
    assert (whole.audio == 0.5).all()


def test_a_part_of_a_batch_is_a_view_of_every_field() -> None:
    numbers = torch.arange(5)
    batch = Batch(*(numbers + 10 * position for position in range(len(Batch._fields))))
    part = batch.part(3, 9)
    assert (batch.size, part.size) == (5, 2)
    for position, field in enumerate(part):
        assert field.tolist() == [10 * position + 3, 10 * position + 4]
    part.action[0] = 99
    assert batch.action[3] == 99
    moved = batch.to(torch.device("cpu"))
    assert all(a is b for a, b in zip(moved, batch, strict=True))


def test_the_bytes_of_an_observation():
    assert StreamSpec((1, 84, 84), (1, 64, 8)).nbytes == 84 * 84 + 2 * 64 * 8
    assert StreamSpec((1, 84, 84), (1, 1, 512), "int8").nbytes == 84 * 84 + 512
    assert StreamSpec((0, 0, 0), (2, 1, 3)).nbytes == 12
