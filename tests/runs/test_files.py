"""Files that stay whole, and a folder held by one process, against real second processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spl.config.errors import UsageError
from spl.runs import files
from spl.runs.files import free_bytes, hold, not_saved, read_json, read_rows, replace_text

HOLDER = """
import sys
from pathlib import Path
from spl.runs.files import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A second process that holds ``tmp_path`` until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_text_is_replaced_whole_and_in_utf8(tmp_path):
    path = tmp_path / "Lauf Ü.txt"
    for text in ("eins\n", "Zwölf längere Zeilen\n" * 12, "3"):
        replace_text(path, text)
        assert path.read_bytes() == text.encode()
        assert os.listdir(tmp_path) == [path.name]


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe is not a regular file"):
        replace_text(pipe, "text")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_text_may_be_replaced_by_two_processes_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from spl.runs.files import replace_text\n"
        "for text in range(300): replace_text(Path(sys.argv[1]), str(text))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "text")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [one.communicate()[1] for one in both] == [b"", b""]
    assert (tmp_path / "text").read_text() == "299"
    assert os.listdir(tmp_path) == ["text"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("stage", ["pathlib.Path.write_bytes", "os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_old_text(tmp_path, monkeypatch, stage, error):
    path = tmp_path / "text"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(stage, fail)
        with pytest.raises(type(error)):
            replace_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["text"]


def test_a_failed_save_says_what_why_how_much_is_free_and_what_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda folder: 1_234)
    told = str(not_saved("step 7", tmp_path, OSError(28, "No space left on device")))
    assert told == (
        f"cannot save step 7 in {tmp_path}: No space left on device; 1,234 bytes are free there, and what "
        "was saved before stays"
    )
    assert ": the mapper broke; " in str(not_saved("it", tmp_path, RuntimeError("the mapper broke")))


def test_a_text_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")  # as a write that was begun does: it names no file

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    told = f"^cannot save text in {tmp_path}: No space left on device; "
    with pytest.raises(OSError, match=told) as caught:
        replace_text(tmp_path / "text", "new")
    assert caught.value.strerror == "No space left on device"


def test_free_bytes_are_those_of_the_disk_even_before_the_folder_is_there(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert free_bytes(tmp_path) > 0


def test_a_held_folder_is_refused_with_the_process_that_holds_it(tmp_path, holder):
    sentence = f"is being trained by process {holder.pid}: wait for it, or stop it with kill {holder.pid}"
    with pytest.raises(UsageError, match=sentence), hold(tmp_path):
        pytest.fail("held twice")
    holder.communicate("")  # it ends
    with hold(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_lets_go(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").read_text() == f"{holder.pid}\n", "the file stays, the lock does not"
    with hold(tmp_path):
        pass


def test_a_folder_is_held_once_in_a_process_too_and_let_go_after_an_error(tmp_path):
    def fail():
        with hold(tmp_path), hold(tmp_path):
            pytest.fail("held twice")

    for _ in range(2):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            fail()


def test_a_folder_that_cannot_be_written_is_named():
    with (
        pytest.raises(UsageError, match="the run folder /proc/none cannot be written"),
        hold(Path("/proc/none")),
    ):
        pytest.fail("held nothing")


def test_a_disk_without_locks_holds_nothing_out(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with hold(tmp_path), hold(tmp_path):
        pass


@pytest.mark.parametrize("content", [None, b"", b'{"kept": "resta', b"3"])
def test_a_document_that_is_missing_or_cut_is_one_sentence(tmp_path: Path, content: bytes | None):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"result\.json is missing, empty or cut: .*; copy it again"):
        read_json(path)
    path.write_bytes(b'{"kept": "restart-1"}')
    assert read_json(path) == {"kept": "restart-1"}


@pytest.mark.parametrize("content", [None, b"", b'{"step": 1}\n{"st'])
def test_rows_that_are_missing_or_cut_are_one_sentence(tmp_path: Path, content: bytes | None):
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"metrics\.jsonl is missing, empty or cut: .*; copy it again"):
        read_rows(tmp_path)
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    assert read_rows(tmp_path) == [{"step": 1}, {"step": 2}]
