"""What a dataset's samples become, and what is said where they do not serve."""

import numpy as np
import pytest
import torch

from spl.data.audiovisual import DatasetPairs, Pairs, PairSource, signature_of
from spl.records import StreamSpec

T = 3


def sample(number: int, *, video=True, audio=True):
    return (
        np.full((T, 1, 4, 5), number, np.uint8) if video else None,
        np.full((T, 2, 6, 7), number / 8, np.float32) if audio else None,
        number % 2,
    )


def test_samples_come_as_pairs_in_the_order_asked_for():
    source: PairSource = DatasetPairs([sample(n) for n in range(5)], classes=("even", "odd"))
    pairs = source.pairs(np.array([3, 0, 3]))
    assert source.spec == StreamSpec((1, 4, 5), (2, 6, 7))
    assert source.history == T
    assert len(source) == 5
    assert pairs.video.shape == (3, T, 1, 4, 5)
    assert pairs.video.dtype == torch.uint8
    assert pairs.audio.shape == (3, T, 2, 6, 7)
    assert pairs.audio.dtype == torch.float16
    assert pairs.video[:, 0, 0, 0, 0].tolist() == [3, 0, 3]
    assert pairs.audio[:, 0, 0, 0, 0].tolist() == [3 / 8, 0, 3 / 8]
    assert pairs.present.all()
    assert pairs.labels.tolist() == [1, 0, 1]
    assert pairs.indices.tolist() == [3, 0, 3]
    assert source.labels().tolist() == [0, 1, 0, 1, 0]
    assert isinstance(pairs.to(torch.device("cpu")), Pairs)


def test_an_absent_modality_is_zero_and_its_shape_is_that_of_the_others():
    source = DatasetPairs([sample(1, audio=False), sample(2), sample(3, video=False)])
    pairs = source.pairs(np.arange(3))
    assert pairs.present.tolist() == [[True, False], [True, True], [False, True]]
    assert not pairs.audio[0].any()
    assert not pairs.video[2].any()
    assert pairs.audio[1].any()


def test_a_modality_that_no_sample_has_has_no_shape():
    source = DatasetPairs([sample(1, audio=False)])
    assert not source.spec.has_audio
    assert source.pairs(np.zeros(1, np.int64)).audio.shape == (1, T, 0, 0, 0)


def test_a_step_without_an_axis_of_steps_is_a_history_of_one_and_bytes_stay_bytes():
    source = DatasetPairs([(np.zeros((1, 4, 4), np.uint8), np.full((1, 1, 8), -5, np.int8), None)])
    pairs = source.pairs(np.zeros(1, np.int64))
    assert source.history == 1
    assert source.spec.audio_dtype == "int8"
    assert pairs.audio.dtype == torch.int8
    assert pairs.audio.shape == (1, 1, 1, 1, 8)
    assert (pairs.audio == -5).all()
    assert pairs.labels.tolist() == [0]


def test_targets_spare_reading_the_samples():
    class Told(list):
        targets = (1, 0)

    source = DatasetPairs(Told([sample(0), sample(0)]))
    source.dataset[1] = None
    assert source.labels().tolist() == [1, 0]


def test_the_signature_tells_what_an_encoder_depends_on():
    told = signature_of(StreamSpec((1, 84, 84), (1, 64, 8)), history=4, sample_rate_hz=16_000, step_s=0.1)
    assert told["num_mels"] == 64
    assert told["level_range_db"] == [-100.0, 0.0]
    assert told["step_s"] == 0.1
    waveform = signature_of(StreamSpec((1, 84, 84), (1, 1, 512), "int8"), history=4)
    assert waveform["num_mels"] is waveform["level_range_db"] is None
    assert waveform["audio_dtype"] == "int8"
    source = DatasetPairs([sample(0)], audio_settings={"sample_rate_hz": 8_000})
    assert source.signature["sample_rate_hz"] == 8_000
    assert source.signature["history"] == T


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([], "at least one sample, got none"),
        ([sample(1, video=False, audio=False)], "one of them must be there, got none and none"),
        ([(sample(1)[0][:2], sample(1)[1], 0)], "equally many steps, .* got 2 and 3"),
        ([(sample(1)[0] / 2, None, 0)], "sample 0: video must be uint8 of 3 axes, .* got float64"),
        ([(sample(1)[0], 0)], r"sample 0 must be \(video, audio, label\), got 2 values"),
    ],
)
def test_a_dataset_that_does_not_serve_is_refused(samples, sentence):
    with pytest.raises(ValueError, match=sentence):
        DatasetPairs(samples)


def test_a_sample_that_differs_from_the_first_and_a_label_that_is_none_of_the_classes_are_refused():
    other = (np.zeros((T, 1, 4, 6), np.uint8), None, 0)
    with pytest.raises(
        ValueError, match=r"sample 1: video must be uint8 of shape \(3, 1, 4, 5\).*\(3, 1, 4, 6\)"
    ):
        DatasetPairs([sample(0), other]).pairs(np.array([1]))
    for label in (-1, 2):
        with pytest.raises(ValueError, match=rf"a label must be in 0..1, got {label}"):
            DatasetPairs([(*sample(0)[:2], label)], classes=("a", "b")).labels()
    labels = DatasetPairs([(*sample(0)[:2], label) for label in (1, 0)], classes=("a", "b")).labels()
    assert labels.tolist() == [1, 0]
