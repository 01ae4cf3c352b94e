"""Sets of images: their splits, and what is said when one is not there."""

import hashlib
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as torchvision_datasets

from spl.config.errors import UsageError
from spl.data.images.cifar import GROUPS
from spl.data.images.datasets import DataConfig, Digits, check_same, described, load_images
from spl.data.labels import flip_labels, true_labels


def test_digits_are_brought_to_32_pixels_and_split_within_each_class():
    sets = load_images(DataConfig())
    assert (len(sets.train.indices), len(sets.test.indices)) == (1438, 359)
    assert not set(sets.train.indices) & set(sets.test.indices)
    image, label = sets.train.images[0]
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
    assert torch.equal(image[0], image[2])
    assert label == 0
    held_out = Counter(sets.test.images[index][1] for index in sets.test.indices)
    assert set(held_out.values()) <= {35, 36, 37}  # a fifth of 174 to 183
    assert load_images(DataConfig()).test.indices == sets.test.indices
    pixels = torch.stack([sets.train.images[index][0][0] for index in sets.train.indices]) / 255.0
    assert sets.mean == pytest.approx([pixels.mean().item()] * 3, abs=1e-6)
    assert sets.std == pytest.approx([pixels.std().item()] * 3, abs=1e-6)


def test_digits_keep_their_brightness():
    from sklearn.datasets import load_digits

    raw = load_digits().images[5]  # 8 x 8, 0..16
    small = Digits()[5][0][0].float().reshape(8, 4, 8, 4).mean(dim=(1, 3))
    assert np.corrcoef(raw.ravel(), small.numpy().ravel())[0, 1] > 0.97
    assert small.mean().item() == pytest.approx(raw.mean() * 255 / 16, rel=0.02)


def test_a_folder_is_split_within_each_class(pictures: Path):
    sets = load_images(DataConfig(name="folder", root=str(pictures), test_share=0.25, image_size=16))
    assert sets.classes == ("blue", "green", "red")
    assert Counter(sets.test.images.targets[index] for index in sets.test.indices) == {0: 2, 1: 2, 2: 2}
    assert len(sets.train.indices) == 18
    assert sets.size == 16


def test_a_folder_may_have_its_own_split(pictures: Path, tmp_path: Path):
    root = tmp_path / "split"
    root.mkdir()
    (root / "train").symlink_to(pictures)
    shutil.copytree(pictures, root / "val")
    sets = load_images(DataConfig(name="folder", root=str(root)))
    assert len(sets.train.indices) == len(sets.test.indices) == 24
    assert sets.size == 224
    shutil.rmtree(root / "val")
    for name in ("blue", "red"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "one.png").write_bytes((pictures / "blue" / "0.png").read_bytes())
    with pytest.raises(UsageError, match="must have the same classes, got 'green' in one only"):
        load_images(DataConfig(name="folder", root=str(root)))


def test_stl10_is_split_7_to_3_within_each_class(monkeypatch: pytest.MonkeyPatch):
    class Part(list):
        def __init__(self, root: str, split: str, download: bool) -> None:
            number = {"train": 500, "test": 800}[split]
            self.labels = np.repeat(np.arange(10), number)
            self.classes = list("abcdefghij")
            super().__init__((None, int(label)) for label in self.labels)

    monkeypatch.setattr(torchvision_datasets, "STL10", Part)
    sets = load_images(DataConfig(name="stl10"))
    assert (len(sets.train.indices), len(sets.test.indices)) == (9100, 3900)
    assert set(Counter(sets.test.images[index][1] for index in sets.test.indices).values()) == {390}
    assert sets.size == 96


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "cifar10",
            r"cifar10 is not in .*nowhere.*pass --data.download true to download it, or name its folder",
        ),
        ("cifar100", r"cifar100 is not in .*--data.download true"),
        ("stl10", r"stl10 is not in .*--data.download true"),
        ("imagenet", r"imagenet is not in .*nowhere.*; name its folder with --data.root"),
        ("folder", r"nowhere must hold one sub-folder of images for each class"),
    ],
)
def test_a_missing_set_is_one_sentence(name: str, sentence: str, tmp_path: Path):
    with pytest.raises(UsageError, match=sentence) as caught:
        load_images(DataConfig(name=name, root=str(tmp_path / "nowhere")))
    assert "\n" not in str(caught.value)


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_datasets, "CIFAR10", refuse)
    with pytest.raises(
        UsageError, match=r"could not be downloaded into .*: no route to host; download it by hand"
    ):
        load_images(DataConfig(name="cifar10", root=str(tmp_path), download=True))


def test_a_train_folder_needs_a_partner_and_a_folder_two_classes(pictures: Path, tmp_path: Path):
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely" / "train").symlink_to(pictures)
    with pytest.raises(UsageError, match="has a train/ and must have one of test, val, valid, validation"):
        load_images(DataConfig(name="folder", root=str(tmp_path / "lonely")))
    (tmp_path / "one" / "class").mkdir(parents=True)
    (tmp_path / "one" / "class" / "a.png").write_bytes((pictures / "blue" / "0.png").read_bytes())
    with pytest.raises(UsageError, match="must hold at least 2 sub-folders, one a class"):
        load_images(DataConfig(name="folder", root=str(tmp_path / "one")))


def test_what_is_held_out_follows_from_the_names(pictures: Path):
    def held_out() -> set[str]:
        sets = load_images(DataConfig(name="folder", root=str(pictures), test_share=0.25))
        return {sets.test.images.samples[index][0] for index in sets.test.indices}

    before = held_out()
    (pictures / "red" / "7.png").unlink()
    assert len(before ^ held_out()) <= 2  # it may itself have been held out
    assert {path for path in before if "/red/" not in path} <= held_out()


def test_a_class_that_is_too_small_is_named(pictures: Path):
    with pytest.raises(UsageError, match=r"class 'blue' has 8 images, too few to hold out 1% of them"):
        load_images(DataConfig(name="folder", root=str(pictures), test_share=0.01))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"test_share": 1.0}, r"test_share must be in \(0, 1\), got 1.0"),
        ({"image_size": 4}, "image_size must be in 8..65536, got 4"),
        ({"padding": -1}, "padding must be in 0..1024, got -1"),
        ({"num_workers": -1}, "num_workers must be in 0..1024, got -1"),
    ],
)
def test_impossible_options_are_refused(values: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        DataConfig(**values)


@pytest.fixture
def cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with CIFAR-100 in its own files, of 40 images to learn from and 20 held out."""
    kind, folder = torchvision_datasets.CIFAR100, tmp_path / "data" / "cifar-100-python"
    folder.mkdir(parents=True)
    generator, digests = np.random.default_rng(0), {}
    contents = {
        "meta": {
            "fine_label_names": sorted(name for names in GROUPS.values() for name in names.split()),
            "coarse_label_names": list(GROUPS),
        }
    }
    for name, count in (("train", 40), ("test", 20)):
        fine = [(7 * number) % 100 for number in range(count)]
        pictures = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        contents[name] = {"data": pictures, "fine_labels": fine}
    for name, content in contents.items():
        whole = pickle.dumps(content)
        (folder / name).write_bytes(whole)
        digests[name] = hashlib.md5(whole).hexdigest()
    monkeypatch.setattr(kind, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": digests["meta"]})
    return tmp_path / "data"


def test_cifar100_has_100_classes_and_by_its_coarse_labels_20(cifar100: Path):
    fine = load_images(DataConfig(name="cifar100", root=str(cifar100)))
    coarse = load_images(DataConfig(name="cifar100", root=str(cifar100), labels="coarse"))
    assert (len(fine.classes), fine.classes[99]) == (100, "worm")
    assert (len(coarse.classes), coarse.classes[19]) == (20, "vehicles_2")
    for split in ("train", "test"):
        few, many = getattr(coarse, split), getattr(fine, split)
        assert few.indices == many.indices
        assert [many.images[index][1] for index in range(4)] == [0, 7, 14, 21]
        assert [few.images[index][1] for index in range(4)] == [
            4,
            7,
            7,
            11,
        ]  # apple, beetle, butterfly, ...
        assert few.images[3][0].tobytes() == many.images[3][0].tobytes()
        assert true_labels(few)[:4].tolist() == [4, 7, 7, 11]
    flipped = flip_labels(coarse, 0.5, seed=0)
    assert (flipped.train.labels != true_labels(coarse.train)).sum() == 20
    assert flipped.train.labels.max() < 20
    with pytest.raises(ValueError, match="its classes were apple"):
        check_same(described(fine), described(coarse))


@pytest.mark.parametrize("name", ["digits", "cifar10", "stl10", "imagenet", "folder"])
def test_coarse_labels_are_refused_where_there_are_none(name: str):
    with pytest.raises(ValueError, match=f"labels=coarse is for cifar100, .* got it for {name}"):
        DataConfig(name=name, labels="coarse")
