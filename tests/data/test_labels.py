"""Labels of images, and wrong ones given on purpose."""

from pathlib import Path

import numpy as np
import pytest

from spl.data.images.datasets import DataConfig, ImageSets, described, load_images
from spl.data.labels import flip_labels, given_labels, true_labels


@pytest.fixture(scope="module")
def digits() -> ImageSets:
    return load_images(DataConfig())


def test_labels_are_those_that_the_images_come_with(digits: ImageSets, pictures: Path):
    folder = load_images(DataConfig(name="folder", root=str(pictures), test_share=0.25))
    for split in (digits.train, digits.test, folder.train, folder.test):
        assert true_labels(split).tolist() == [split.images[index][1] for index in split.indices]
        assert given_labels(split).tolist() == true_labels(split).tolist()


def test_the_share_that_is_asked_for_is_told_another_class_and_the_truth_is_kept(digits: ImageSets):
    noisy = flip_labels(digits, 0.4, 3)
    told, true = given_labels(noisy.train), true_labels(noisy.train)
    assert (told != true).sum() == round(0.4 * 1438)
    assert true.tolist() == true_labels(digits.train).tolist()
    assert set(told) == set(range(10))
    steps = np.bincount((told - true) % 10, minlength=10)[1:]  # each other class about as often
    assert 40 <= steps.min() <= steps.max() <= 90  # 575 / 9 = 64
    assert noisy.test is digits.test
    assert described(noisy) == described(digits)


def test_flips_follow_from_the_seed(digits: ImageSets):
    one, two, other = (given_labels(flip_labels(digits, 0.4, seed).train).tolist() for seed in (3, 3, 4))
    assert one == two != other
    assert flip_labels(digits, 0.0, 3) is digits
    every = flip_labels(digits, 1.0, 3).train
    assert (given_labels(every) != true_labels(every)).all()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(ValueError, match=rf"label_noise must be in \[0, 1\], got {share}"):
        DataConfig(label_noise=share)
