"""Folders of pictures as people bring them: what is used, what is held out, what is left out and reported."""

import json
import os
import re
import shutil
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from spl.config.errors import UsageError
from spl.data.images.datasets import DataConfig, ImageSets, load_images
from spl.data.images.folders import BROKEN, NO_CLASS, NO_PICTURES
from spl.data.images.splits import NO_PART, role_of
from spl.folder_files import HIDDEN, REPEATED

RNG = np.random.default_rng(0)


def fill(root: Path, *folders: str, count: int = 5, ending: str = "jpg") -> Path:
    """Put pictures into folders."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = RNG.integers(0, 255, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number:03}.{ending}")
    return root


def load(root: Path, **more: object) -> ImageSets:
    return load_images(DataConfig(name="folder", root=str(root), **more))  # type: ignore[arg-type]


def counts(sets: ImageSets) -> tuple[int, int]:
    return len(sets.train.indices), len(sets.test.indices)


def reasons(sets: ImageSets) -> dict[str, str]:
    assert sets.counted is not None
    return {one.name: one.reason for one in sets.counted.left_out}


def sentence(root: Path, **more: object) -> str:
    """Return the one sentence that a folder is refused with."""
    with pytest.raises(UsageError) as caught:
        load(root, **more)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_plain_folder_is_read_in_the_order_of_torchvision(tmp_path: Path) -> None:
    root = fill(tmp_path, "b", "a", "a/x/y", "a/x-1", "a-b", "Z", ending="png")
    sets, theirs = load(root), ImageFolder(str(root))
    assert sets.classes == tuple(theirs.classes)
    assert sets.train.images.samples == theirs.samples
    assert sets.train.images.targets == theirs.targets
    assert np.array_equal(np.asarray(sets.train.images[7][0]), np.asarray(theirs[7][0]))
    assert sets.counted is not None
    assert (sets.counted.used, sets.counted.sentences()) == (30, [])


def test_what_programs_leave_is_no_class_and_no_picture(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b")
    alone = load(root)
    (root / ".git").mkdir()
    for folder in (
        ".ipynb_checkpoints",
        "__MACOSX",
        "@eaDir",
        ".thumbnails",
        "a/.ipynb_checkpoints",
        "a/@eaDir",
    ):
        shutil.copytree(root / "b", root / folder)
    for name in (".DS_Store", "a/Thumbs.db", "a/desktop.ini", "b/._000.jpg", "b/.hidden.jpg"):
        shutil.copy(root / "a" / "000.jpg", root / name)
    sets = load(root)
    assert (sets.classes, counts(sets)) == (("a", "b"), counts(alone)) == (("a", "b"), (8, 2))
    assert set(reasons(sets).values()) == {HIDDEN}
    assert len(reasons(sets)) == 12


def test_files_are_known_by_their_bytes_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b")
    for ending in ("gif", "jfif", "avif", "jp2", "tga", "ico"):
        Image.new("RGB", (32, 32)).save(root / "a" / f"x.{ending}")
    shutil.copy(root / "a" / "000.jpg", root / "a" / "no ending")
    shutil.copy(root / "a" / "000.jpg", root / "a" / "jpeg.dat")
    for number in range(7):
        (root / "b" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    (root / "b" / "labels.csv").write_text("000.jpg,1\n")
    (root / "b" / "icon.svg").write_text("<svg/>")
    Image.new("L", (9, 9)).save(root / "cover.jpg")
    sets = load(root)
    assert sum(counts(sets)) == 5 + 8 + 5
    assert sets.counted is not None
    told = sets.counted.sentences()
    assert told[0] == (
        "left out 7 (HEIC, which Pillow does not read: convert it): b/0.heic, b/1.heic, b/2.heic, b/3.heic, "
        "b/4.heic and 2 more"
    )
    assert f"left out 1 ({NO_CLASS}): cover.jpg" in told
    assert "left out 1 (no picture): b/labels.csv" in told
    document = json.loads(json.dumps(sets.counted.as_json()))
    assert (document["used"], document["left_out"]) == (18, 10)
    assert document["reasons"][0]["count"] == 7
    assert len(document["reasons"][0]["names"]) == 5


SPLITS = [
    ("train", "test"),
    ("train", "val"),
    ("Train", "Val"),
    ("TRAINING", "VALIDATION"),
    ("trn", "tst"),
    ("training_set", "test_set"),
    ("trainset", "valid"),
    ("train2017", "val2017"),
    ("train-images", "eval"),
    ("images.train", "dev"),
    ("train data", "held-out"),
    ("trainval", "Hold_Out"),
]


@pytest.mark.parametrize(("train", "held_out"), SPLITS)
def test_a_split_is_known_by_its_usual_names(train: str, held_out: str, tmp_path: Path) -> None:
    root = fill(tmp_path, f"{train}/a", f"{train}/b")
    fill(root, f"{held_out}/a", f"{held_out}/b", count=3)
    sets = load(root)
    assert (sets.classes, counts(sets)) == (("a", "b"), (10, 6))
    assert sets.counted is not None
    assert sets.counted.notes == (f"{train}/ to learn from, {held_out}/ held out",)


@pytest.mark.parametrize(
    "name", ["trains", "tested", "vale", "set", "images", "strain", "2017", "a", "devil"]
)
def test_other_names_are_classes(name: str) -> None:
    assert role_of(name) is None


def test_of_three_parts_it_is_said_which_are_used(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{part}/{kind}" for part in ("train", "val", "test", "extra") for kind in "ab"))
    fill(root, "test/a", count=7)
    sets = load(root)
    assert counts(sets) == (10, 12)
    assert reasons(sets) == {"val/": NO_PART, "extra/": NO_PART}


def test_every_class_folder_may_have_the_split(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/Train", "b/Train", "a/other")
    fill(root, "a/valid", "b/valid", count=2)
    sets = load(root)
    assert (sets.classes, counts(sets)) == (("a", "b"), (10, 4))
    assert {label for _, label in sets.test.images.samples} == {0, 1}
    assert set(reasons(sets).values()) == {NO_PART}
    assert len(reasons(sets)) == 5
    fill(root, "c")
    assert sentence(root).endswith(
        "a/ in " + f"{root} has Train/ and valid/, and c/ has not: split all alike, or none"
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", "bus", "test")
    assert load(root).classes == ("bus", "test", "train")  # none of them has folders


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("train", "val"), "has train/, val/ and no sub-folder for each class in them"),
        (
            ("train/a", "train/b", "test"),
            "must have one of test, val, .* beside it.*; test/ has no class folders",
        ),
        (("train/a", "train/b", "Train/a", "val/a"), "has Train/ and train/, which mean the same part"),
        (("val/a", "val/b", "test/a"), "has test/, val/ and no train/ beside them"),
        (("train/a", "train/b", "val/a"), "must have the same classes, got 'b' in one only"),
        (("train/a", "train/b", "val/a", "val/c"), "must have the same classes, got 'b', 'c' in one only"),
        (("photos/a", "photos/b"), "are the classes in .*photos\\? Then give that"),
        ((".",), "must hold at least 2 sub-folders, one a class, got .*; 5 files are in no sub-folder"),
    ],
)
def test_half_a_split_is_one_sentence(folders: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert re.search(told, sentence(fill(tmp_path, *folders)))


def test_classes_of_both_parts_are_matched_without_case_and_unicode_form(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))  # macOS writes the second
    root = fill(tmp_path, "train/Cat", "train/dog", f"train/{one}")
    fill(root, "val/cat", "val/Dog ", f"val/{two}", count=2)
    sets = load(root)
    assert (sets.classes, counts(sets)) == (("Cat", "dog", one), (15, 6))
    named = {Path(path).parent.name: label for path, label in sets.test.images.samples}
    assert named == {"cat": 0, "Dog ": 1, two: 2}
    fill(root, "train/cat")  # now they are two classes to learn from
    assert "must have the same classes" in sentence(root)
    fill(root, "val/Cat", "val/dog", f"val/{one}")
    shutil.rmtree(root / "val" / "Dog ")
    shutil.rmtree(root / "val" / two)
    assert load(root).classes == ("Cat", "cat", "dog", one)  # as in letters of both cases


def test_an_empty_class_is_left_out_and_one_without_pictures_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b")
    (root / "empty" / "deep").mkdir(parents=True)
    (root / "notebook").mkdir()
    (root / "notebook" / ".ipynb_checkpoints").mkdir()
    sets = load(root)
    assert sets.classes == ("a", "b")
    assert (reasons(sets)["empty/"], reasons(sets)["notebook/"]) == (NO_PICTURES, NO_PICTURES)
    (root / "empty" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert "class 'empty' has no picture in " in (told := sentence(root))
    assert "empty/x.heic is left out (HEIC, which Pillow does not read: convert it); convert" in told


def test_broken_pictures_are_told_before_training_or_left_out_for_good(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b", count=8)
    cut = root / "a" / "003.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "b" / "007.jpg").write_bytes(b"")
    (root / "b" / "001.jpg").write_bytes(b"<html>gone</html>")
    told = sentence(root)
    assert told.startswith(f"3 of 16 pictures in {root} cannot be read: a/003.jpg (")
    assert "b/001.jpg (an HTML page, as a failed download leaves it), b/007.jpg (empty)" in told
    assert told.endswith("; mend or delete them, or leave them out with --data.skip_broken true")
    sets = load(root, skip_broken=True)
    assert sum(counts(sets)) == 13
    assert reasons(sets) == {"a/003.jpg": BROKEN, "b/001.jpg": BROKEN, "b/007.jpg": BROKEN}
    assert sets.counted is not None
    assert sets.counted.skipped == ("a/003.jpg", "b/001.jpg", "b/007.jpg")


def test_only_regular_files_are_opened_and_each_once(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", "pool", count=3)
    root = fill(tmp_path / "root", "a", "b")
    os.mkfifo(root / "a" / "z.png")
    (root / "a" / "loop").symlink_to("..")
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "a" / "again.jpg").symlink_to("../b/000.jpg")
    (root / "a" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "a" / "zero.jpg").symlink_to("/dev/zero")
    (root / "b" / "one").symlink_to("two")
    (root / "b" / "two").symlink_to("one")
    (root / "b" / "friends").symlink_to("../a")
    (root / "b" / "pool").symlink_to(outside / "pool")
    (root / "loop").symlink_to(".")
    started = time.monotonic()
    sets = load(root)
    assert time.monotonic() - started < 5
    assert sets.classes == ("a", "b")
    assert sum(counts(sets)) == 5 + 5 + 3
    left_out = reasons(sets)
    assert len(left_out) == 10
    assert left_out["a/again.jpg"] == left_out["b/friends/"] == REPEATED
    assert left_out["a/z.png"] == left_out["a/zero.jpg"] == "neither a file nor a folder"


def test_a_split_of_links_into_a_pool_beside_it_is_used(tmp_path: Path) -> None:
    root = fill(tmp_path, "pool", count=12)
    for number in range(12):
        place = root / ("train" if number < 8 else "test") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").symlink_to(root / "pool" / f"{number:03}.jpg")
    sets = load(root)
    assert counts(sets) == (8, 4)
    (root / "test" / "a" / "seen.jpg").symlink_to(root / "pool" / "000.jpg")  # is learned from
    sets = load(root)
    assert sum(counts(sets)) == 12
    assert REPEATED in reasons(sets).values()


def test_parts_that_are_one_folder_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/a", "train/b")
    (root / "val").symlink_to("train")
    assert "val is a link to what is read already: nothing is in it" in sentence(root)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "tab\t", "back\u202ewards", "bell\x07"])
def test_names_with_control_characters_are_shown_escaped(name: str, tmp_path: Path) -> None:
    root = fill(tmp_path, "a", name)
    (root / name / f"{name}.txt").write_text("none")
    sets = load(root)
    assert sets.counted is not None
    for told in (*sets.classes, *sets.counted.sentences(), json.dumps(sets.counted.as_json())):
        assert told.isprintable()
    assert len(set(sets.classes)) == 2
    (root / name / "000.jpg").write_bytes(b"")
    assert "000.jpg (empty)" in sentence(root)


def test_a_class_whose_name_is_not_utf_8_is_refused_and_a_file_is_not(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b")
    os.rename(os.fsencode(root / "b" / "000.jpg"), os.fsencode(root / "b") + b"/\xff.jpg")
    assert sum(counts(load(root))) == 10
    os.rename(os.fsencode(root / "b"), os.fsencode(root) + b"/caf\xe9")
    told = sentence(root)
    assert told == rf"the class folder caf\udce9 in {root} has a name that is not UTF-8: rename it"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": "folder", "root": ""}, "root must be a path, got ''; write . for the current folder"),
        ({"background": "black"}, "background has no effect with digits"),
        ({"skip_broken": True}, "skip_broken has no effect with digits"),
        ({"root": "pictures"}, "root has no effect with digits, got pictures; choose name=folder"),
        ({"name": "folder", "background": "whyte"}, "background must be a colour such as white"),
    ],
)
def test_options_that_do_nothing_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DataConfig(**values)  # type: ignore[arg-type]
