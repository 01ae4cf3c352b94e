import json
import os
import socket
from pathlib import Path

import pytest

from spl.config.errors import UsageError
from spl.folder_files import (
    EMPTY,
    HIDDEN,
    REPEATED,
    UNFINISHED,
    FolderFiles,
    LeftOut,
    as_json,
    find_files,
    sift,
    told,
)


def _write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def _reasons(found: FolderFiles) -> dict[str, str]:
    return {each.name: each.reason for each in found.left_out}


def test_the_files_of_all_sub_folders_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    _write(tmp_path, "b/2.mp4", "b/10.mp4", "a-b/1.mp4", "a/deep/er/3.mp4", "a/z", "c.mp4")
    found = find_files(tmp_path)
    assert found == FolderFiles(
        tmp_path, ["a/deep/er/3.mp4", "a/z", "a-b/1.mp4", "b/10.mp4", "b/2.mp4", "c.mp4"], []
    )
    assert [tmp_path / name for name in found.used] == sorted(tmp_path / name for name in found.used)


def test_what_programs_leave_among_data_is_left_out_and_told(tmp_path: Path) -> None:
    leavings = [".DS_Store", "a/._x.mp4", "a/Thumbs.db", "a/DESKTOP.INI", "a/x.mp4~", "~$x.mp4", "a/Icon\r"]
    folders = [".ipynb_checkpoints", "__MACOSX", "a/@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"]
    halves = ["x.mp4.part", "x.CRDOWNLOAD", "x.f137.mp4.part-Frag12", "x.mp4.!qB", "x.aria2", "x.tmp"]
    _write(tmp_path, "a/x.mp4", "party.mp4", "a.download.mp4", *leavings, *halves)
    _write(tmp_path, *(f"{folder}/x.mp4" for folder in folders))
    found = find_files(tmp_path)
    assert found.used == ["a/x.mp4", "a.download.mp4", "party.mp4"]
    assert _reasons(found) == (
        dict.fromkeys(leavings, HIDDEN)
        | {f"{folder}/": HIDDEN for folder in folders}
        | dict.fromkeys(halves, UNFINISHED)
    )


def test_only_regular_files_that_hold_something_are_used(tmp_path: Path) -> None:
    _write(tmp_path, "x")
    (tmp_path / "zero").touch()
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "to-fifo.mp4").symlink_to("fifo.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "nothing.mp4").symlink_to("gone.mp4")
    (tmp_path / "itself.mp4").symlink_to("itself.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))
        found = find_files(tmp_path)
    assert found.used == ["x"]
    reasons = _reasons(found)
    assert reasons.pop("itself.mp4").startswith("a link: ")
    assert reasons == {
        "zero": EMPTY,
        "fifo.mp4": "neither a file nor a folder",
        "to-fifo.mp4": "neither a file nor a folder",
        "device.mp4": "neither a file nor a folder",
        "nothing.mp4": "a link to nothing",
        "socket": "neither a file nor a folder",
    }


def test_a_link_never_brings_a_file_twice(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    _write(root, "a/1", "b/1", "b/2")
    _write(other, "sub/3", "4", "5")
    (root / "a" / "loop").symlink_to("..")
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "a" / "0").symlink_to("../b/2")  # read before what it leads to
    (root / "a" / "folder").symlink_to("../b")
    (root / "c").symlink_to(other / "sub")
    (root / "c5").symlink_to(other / "5")
    (root / "d").symlink_to(other)  # holds what c leads to
    (root / "e").symlink_to(other / "4")
    (root / "f").symlink_to(root / "c")
    (other / "back").symlink_to(".")
    (other / "home").symlink_to(root / "a")
    found = find_files(root)
    assert found.used == ["a/1", "b/1", "b/2", "c/3", "c5", "d/4"]
    above = "a link to a folder above it"
    assert _reasons(found) == {
        "a/0": REPEATED,
        "a/folder/": REPEATED,
        "a/loop/": above,
        "a/up/": above,
        "d/5": REPEATED,
        "d/back/": above,
        "d/home/": REPEATED,
        "d/sub/": REPEATED,
        "e": REPEATED,
        "f/": REPEATED,
    }


def test_two_links_to_one_file_outside_bring_it_once(tmp_path: Path) -> None:
    _write(tmp_path, "pool/1", "pool/2", "root/own")
    for name, target in (("a", "1"), ("b", "1"), ("c", "2"), ("hidden", ".3")):
        (tmp_path / "root" / name).symlink_to(tmp_path / "pool" / target)
    (tmp_path / "pool" / ".3").write_bytes(b"x")  # the link's name counts, not the target's
    found = find_files(tmp_path / "root")
    assert found.used == ["a", "c", "hidden", "own"]
    assert found.left_out == [LeftOut("b", REPEATED)]
    through_a_link = tmp_path / "link"
    through_a_link.symlink_to(tmp_path / "root")
    assert find_files(through_a_link).used == found.used


def test_a_folder_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    _write(tmp_path, "file")
    with pytest.raises(UsageError, match=r"there is no folder .*gone"):
        find_files(tmp_path / "gone")
    with pytest.raises(UsageError, match="file is no folder"):
        find_files(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    _write(tmp_path, "closed/1", "open/1")
    (tmp_path / "closed").chmod(0)
    try:
        found = find_files(tmp_path)
        with pytest.raises(UsageError, match="closed cannot be read: Permission denied"):
            find_files(tmp_path / "closed")
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found.used == ["open/1"]
    assert found.left_out == [LeftOut("closed/", "cannot be read: Permission denied")]


def test_sift_leaves_out_what_its_reader_refuses(tmp_path: Path) -> None:
    _write(tmp_path, "a.txt", "b.png", "c.txt", ".d")
    found = sift(find_files(tmp_path), lambda name: "no picture" if name.endswith(".txt") else None)
    assert found.used == ["b.png"]
    assert found.left_out == [
        LeftOut(".d", HIDDEN),
        LeftOut("a.txt", "no picture"),
        LeftOut("c.txt", "no picture"),
    ]


def test_a_sentence_names_five_and_counts_the_rest() -> None:
    left_out = [LeftOut("x\n\udcff.mp4", EMPTY), *(LeftOut(f"{n}.txt", "no video") for n in range(1_234))]
    assert told(left_out) == [
        "left out 1,234 (no video): 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 1,229 more",
        "left out 1 (empty): x\\n\\udcff.mp4",
    ]
    assert json.loads(json.dumps(as_json(left_out))) == [
        {"reason": "no video", "count": 1_234, "names": ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]},
        {"reason": "empty", "count": 1, "names": ["x\\n\\udcff.mp4"]},
    ]
    assert told([]) == as_json([]) == []
