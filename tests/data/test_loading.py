"""A sample follows from seed, epoch and index, and a batch from seed and update."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spl.config.errors import RunError, UsageError
from spl.curriculum import Curriculum, CurriculumConfig
from spl.data.images.datasets import DataConfig, Split, load_images
from spl.data.loading import Order, Pictures, augmentation, batches, in_order, plain


class Numbered:
    """Images whose pixels tell their row: 8 x 8, from 0 to 252."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return (torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8) * 4).expand(3, -1, -1), index % 2


def numbered(config: DataConfig, seed: int = 0) -> Pictures:
    return Pictures(Split(Numbered(), range(7)), augmentation(config, 8), seed)


def order_of(num_samples: int, batch_size: int, *, seed: int = 0, num_epochs: int = 1) -> Order:
    curriculum = Curriculum(CurriculumConfig(), num_samples, num_rounds=num_epochs, seed=seed)
    return Order(curriculum, batch_size=batch_size)


def test_each_epoch_is_a_permutation_of_its_own():
    order = order_of(7, 3, seed=1, num_epochs=3)
    assert order.updates_per_epoch == 2  # 3 and 3; the seventh alone is left out
    assert order.smallest == 3
    keys = list(order)
    assert len(keys) == len(order) == 6
    places = [[place for _, place in keys[2 * e] + keys[2 * e + 1]] for e in range(3)]
    assert all(len(set(one)) == 6 for one in places)
    assert places[0] != places[1] != places[2]
    assert {epoch for epoch, _ in keys[4]} == {2}


@pytest.mark.parametrize(
    ("num", "size", "sizes"), [(8, 3, [3, 3, 2]), (6, 3, [3, 3]), (2, 64, [2]), (4, 3, [3])]
)
def test_a_rest_is_kept_unless_it_is_a_single_sample(num: int, size: int, sizes: list[int]):
    assert [len(keys) for keys in order_of(num, size)] == sizes


def test_an_epoch_is_the_permutation_of_its_seed_and_number():
    keys = list(order_of(10, 5, seed=3, num_epochs=2))
    expected = [(1, place) for place in np.random.default_rng([3, 1]).permutation(10).tolist()]
    assert keys[2] + keys[3] == expected


def test_a_sample_that_comes_again_in_an_epoch_is_varied_anew():
    config = CurriculumConfig(name="self-paced", start=0.3, end=0.3, warmup=0.0)
    curriculum = Curriculum(config, 10, num_rounds=4, seed=0)
    curriculum.see(np.arange(10), np.arange(10, dtype=np.float32))
    order = Order(curriculum, batch_size=4)
    keys = [key for batch in order.between(3, 6) for key in batch]
    assert len(set(keys)) == len(keys) == 10
    assert sorted(keys[:3]) == [(1, 0), (1, 1), (1, 2)]
    assert sorted(keys[3:6]) == [(5, 0), (5, 1), (5, 2)]  # 4 epochs further on, where no epoch comes
    assert [place for _, place in keys] == order.places_of_epoch(1).tolist()


def test_the_update_alone_says_where_to_go_on():
    whole = list(order_of(10, 4, seed=5, num_epochs=4))
    for first in range(len(whole)):
        again = order_of(10, 4, seed=5, num_epochs=4)
        assert list(again.between(first, again.num_updates)) == whole[first:]
        assert [place for _, place in whole[first]] == again.places(first).tolist()
    assert list(order_of(10, 4, seed=6, num_epochs=4)) != whole


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 2 images to learn from, got 1"):
        order_of(1, 4)


def test_a_variation_follows_from_seed_epoch_and_index():
    config = DataConfig(augmentation="crop-flip", padding=2)
    pictures, state = numbered(config), torch.get_rng_state()
    first = pictures[0, 3][0]
    torch.rand(3)
    assert torch.equal(pictures[0, 3][0], first)
    seen = {bytes(pictures[epoch, 3][0].numpy().tobytes()) for epoch in range(30)}
    assert len(seen) > 15  # of 25 places and 2 sides
    assert any(not torch.equal(numbered(config, seed)[0, 3][0], first) for seed in range(1, 5))
    torch.set_rng_state(state)
    pictures[1, 3]
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"


def test_each_augmentation_does_what_it_says():
    plainly = numbered(DataConfig(augmentation="none"))[0, 0][0]
    assert torch.equal(plainly, Numbered()[0][0])
    crops = [numbered(DataConfig(augmentation="crop", padding=1))[epoch, 0][0] for epoch in range(40)]
    flips = [numbered(DataConfig(augmentation="crop-flip", padding=0))[epoch, 0][0] for epoch in range(40)]
    turned = [numbered(DataConfig(augmentation="affine"))[epoch, 0][0] for epoch in range(5)]
    resized = [numbered(DataConfig(augmentation="resized-crop-flip"))[epoch, 0][0] for epoch in range(5)]
    inner = {int(crop[0, 4, 4]) for crop in crops}
    assert inner == {int(plainly[0, 4 + down, 4 + right]) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert {tuple(flip[0, 0].tolist()) for flip in flips} == {
        tuple(plainly[0, 0].tolist()),
        tuple(plainly[0, 0].flip(0).tolist()),
    }
    assert all(
        image.shape == (3, 8, 8) and image.dtype == torch.uint8
        for image in (*crops, *flips, *turned, *resized)
    )
    assert len({image.numpy().tobytes() for image in resized}) > 1
    assert len({image.numpy().tobytes() for image in turned}) == 5


def test_photographs_are_judged_by_their_middle_and_other_pictures_whole():
    photograph = Image.new("RGB", (64, 32))
    photograph.paste((255, 0, 0), (0, 0, 8, 32))  # a red edge
    cut = plain(DataConfig(name="folder"), 28)(photograph)
    whole = plain(DataConfig(name="digits"), 28)(photograph)
    assert cut.shape == whole.shape == (3, 28, 28)
    assert cut.max() == 0  # 64 x 32 to 64 x 32, of which 18..46 is seen
    assert whole[0, :, 0].min() > 200


def test_workers_change_nothing():
    config = DataConfig(augmentation="crop-flip")
    runs = [
        list(batches(numbered(config), order_of(7, 3, seed=2, num_epochs=2), num_workers=n, is_pinned=False))
        for n in (0, 2)
    ]
    for one, two in zip(*runs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def begun():
    """Return what is left of batches after the first, and the one process that loads them."""
    others = multiprocessing.active_children()
    order = in_order(7, 2)
    left = batches(numbered(DataConfig(augmentation="crop-flip")), order, num_workers=1, is_pinned=False)
    next(left)
    (worker,) = [child for child in multiprocessing.active_children() if child not in others]
    return left, worker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_leaves_those_that_load_to_the_one_above(number: int):
    left, worker = begun()
    os.kill(worker.pid, number)
    worker.join(0.5)
    assert len(list(left)) == 3


def test_a_killed_process_that_loads_is_told_where_its_batch_is_waited_for():
    left, worker = begun()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()  # torch would interrupt this
    with pytest.raises(RunError, match=r"that loads images was killed.* fewer than --data.num_workers 1 \("):
        list(left)


def test_the_held_out_images_come_once_and_in_order():
    pictures = Pictures(Split(Numbered(), [5, 3, 6]), plain(DataConfig(), 8), 0)
    found = list(batches(pictures, in_order(3, 2), num_workers=0, is_pinned=False))
    assert [batch.indices.tolist() for batch in found] == [[5, 3], [6]]
    assert found[0].labels.tolist() == [1, 1]
    assert found[0].labels.dtype == torch.int64


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_image_is_named(pictures: Path, num_workers: int):
    sets = load_images(DataConfig(name="folder", root=str(pictures), image_size=16))
    (pictures / "green" / "3.png").write_bytes(b"no picture")
    split = Split(sets.train.images, range(24))
    broken = Pictures(split, plain(DataConfig(name="folder"), 16), 0)
    fix = r"restore an intact copy, or start a new run without it \(--data.skip_broken true\)"
    with pytest.raises(UsageError, match=rf"green/3.png cannot be read as an image: no picture; {fix}"):
        list(batches(broken, in_order(24, 8), num_workers=num_workers, is_pinned=False))
