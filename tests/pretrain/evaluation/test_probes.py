"""What codes are worth: splits in time, probes across modalities, baselines, retrieval, all by hand."""

import numpy as np
import pytest

from spl.pretrain.evaluation.probes import Split, canonical, principal, probe, recalls, splits_in_time


def test_splits_hold_out_whole_stretches_of_each_class():
    labels = np.repeat([0, 1], [16, 32])
    places = np.arange(48)
    splits = list(splits_in_time(labels, places, gap=1, count=6, seed=0))
    assert len(splits) == 6
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(48))
        assert np.bincount(labels[test]).tolist() == [4, 8]  # two of eight blocks of each
        assert {(place // 2) * 2 for place in test[test < 16]} == set(test[test < 16][::2])
        assert len({(place - 16) // 4 for place in test[test >= 16]}) == 2
    assert len({tuple(split.test) for split in splits}) > 1
    again = list(splits_in_time(labels, places, gap=1, count=6, seed=0))
    assert all(np.array_equal(one.test, two.test) for one, two in zip(splits, again, strict=True))


@pytest.mark.parametrize("gap", [2, 7])
def test_nothing_that_shares_steps_with_what_is_held_out_is_learned_from(gap: int):
    labels, places = np.repeat([0, 1], 40), np.arange(80) * 3
    for train, test in splits_in_time(labels, places, gap=gap, count=5, seed=1):
        apart = np.abs(places[train][:, None] - places[test][None])
        assert apart.min() >= gap
        kept = set(train) | set(test)
        for lost in set(range(80)) - kept:
            assert np.abs(places[lost] - places[test]).min() < gap


def test_a_class_of_too_few_samples_is_refused():
    with pytest.raises(ValueError, match=r"each class must have at least 8 samples .* got 7"):
        next(splits_in_time(np.repeat([0, 1], [7, 20]), np.arange(27), gap=1, count=1, seed=0))


def test_a_unit_that_a_modality_never_uses_does_not_decide_about_the_other():
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 2
    shared = np.stack([4.0 * labels - 2.0, np.zeros(80)], axis=1) + generator.normal(0.0, 0.1, (80, 2))
    quiet, loud = shared.copy(), shared.copy()
    quiet[:, 1] *= 1e-4  # the second unit hardly moves in one modality
    loud[:, 1] *= 20.0  # and does, at random, in the other
    told = probe({"quiet": quiet, "loud": loud}, labels, Split(np.arange(40), np.arange(40, 80)))
    assert told["quiet to loud"] == 1.0


def test_a_probe_is_tried_on_what_it_did_not_learn_from():
    labels = np.arange(40) % 2
    split = Split(np.arange(20), np.arange(20, 40))
    x = (2.0 * labels - 1)[:, None].astype(np.float32)
    late = np.where(np.arange(40)[:, None] < 20, x, -x)  # turns round where it is held out
    told = probe({"right": x, "wrong": -x, "late": late}, labels, split)
    assert told["right to right"] == told["wrong to wrong"] == 1.0
    assert told["right to wrong"] == told["wrong to right"] == 0.0
    assert told["late to late"] == 0.0
    assert told["late to right"] == 1.0


def test_principal_components_are_the_few_that_there_are():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(50, 2)) * [5.0, 1.0]
    x = (hidden @ generator.normal(size=(2, 200))).astype(np.float32)
    components = principal(x, 0)
    assert components.shape == (50, 2)
    found = np.linalg.lstsq(components, x - x.mean(axis=0), rcond=None)[1]
    assert np.abs(found).max() < 1e-4


def test_of_what_never_changes_there_is_no_component():
    assert principal(np.full((9, 5), 0.3, np.float32), 0).shape == (9, 0)


def test_fewer_canonical_directions_than_components_are_no_trouble():
    generator = np.random.default_rng(0)
    video = generator.normal(size=(60, 3)).astype(np.float32)
    audio = np.repeat(video[:, :1], 3, axis=1)
    found = canonical(video, audio, Split(np.arange(40), np.arange(40, 60)))
    assert np.isfinite(found["video"]).all()
    assert np.corrcoef(found["video"][40:, 0], found["audio"][40:, 0])[0, 1] > 0.99


def test_canonical_directions_are_those_that_both_modalities_share():
    generator = np.random.default_rng(0)
    shared, own, others = generator.normal(size=(3, 300))
    noise = generator.normal(size=(2, 300)) * 0.05
    video = np.stack([10 * own, shared + noise[0]], axis=1).astype(np.float32)
    audio = np.stack([shared + noise[1], 10 * others], axis=1).astype(np.float32)
    split = Split(np.arange(200), np.arange(200, 300))
    found = canonical(video, audio, split)
    first = np.corrcoef(found["video"][200:, 0], found["audio"][200:, 0])[0, 1]
    second = np.corrcoef(found["video"][200:, 1], found["audio"][200:, 1])[0, 1]
    assert first > 0.98, "with the same sign, on samples that were held out"
    assert abs(second) < 0.3


def test_recalls_by_hand():
    queries = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)
    answers = np.array([[2, 0], [1, 0.1], [0, 3], [-5, 0]], np.float32)
    # cosines: 1 .995 0 -1 | 0 .1 1 0 | .707 .77 .707 -.707 | -1 -.995 0 1; ties count against
    assert recalls(queries, answers, at=(1, 2, 3)) == {1: 0.5, 2: 0.75, 3: 1.0}


def test_codes_that_are_all_the_same_find_nothing():
    same = np.ones((20, 3), np.float32)
    assert recalls(same, same, at=(1, 19, 20)) == {1: 0.0, 19: 0.0, 20: 1.0}
    assert recalls(np.zeros((20, 3), np.float32), same, at=(1,)) == {1: 0.0}
