"""macOS and Windows: what they lack is taken away here, one thing at a time."""

import ast
import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from spl.agents import estimates
from spl.agents.config import TrainAgentConfig, build_agent
from spl.config.errors import UsageError
from spl.processes import signals, threads
from spl.records import StreamSpec
from spl.runs import checkpoint, files, machine

ROOT = Path(__file__).parents[2]
POSIX_ALONE = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def imported_at_once(tree: ast.AST) -> set[str]:
    """Return the modules that a module imports at its head, but for those that it tries to."""
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try):
        return set()
    if isinstance(tree, ast.Import):
        return {alias.name for alias in tree.names}
    if isinstance(tree, ast.ImportFrom):
        return {tree.module or ""}
    return set().union(*map(imported_at_once, ast.iter_child_nodes(tree)))


def test_no_module_needs_what_posix_alone_has():
    assert imported_at_once(ast.parse("import os, fcntl\ndef f():\n    import pwd")) & POSIX_ALONE == {
        "fcntl"
    }
    modules = [path for folder in ("spl", "agents", "envs") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 300
    assert not [path for path in modules if imported_at_once(ast.parse(path.read_text())) & POSIX_ALONE]


def without_links(*_: object) -> None:
    raise OSError(errno.EINVAL, "A required privilege is not held by the client")


def test_without_links_a_file_names_the_last_checkpoint(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", without_links)
        for step in (1, 3, 2):  # the run was taken back from 3 to 2
            checkpoint.save(tmp_path, {"step": step}, step=step, keep=3)
        assert (tmp_path / "last").read_text() == "step-000000002"
        assert not (tmp_path / "last").is_symlink()
        assert checkpoint.load(tmp_path) == {"step": 2}
    checkpoint.save(tmp_path, {"step": 4}, step=4, keep=3)  # moved to a disk with links
    assert (tmp_path / "last").is_symlink()
    assert checkpoint.load(tmp_path) == {"step": 4}


def test_a_file_that_names_no_checkpoint_is_passed_over(tmp_path):
    checkpoint.save(tmp_path, {"step": 1}, step=1)
    (tmp_path / "last").unlink()
    (tmp_path / "last").write_bytes(b"..\0\xff")
    assert checkpoint.load(tmp_path) == {"step": 1}


def test_without_locks_a_folder_is_held_by_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "locks", None)
    with files.hold(tmp_path), files.hold(tmp_path):
        assert not (tmp_path / files.LOCK).exists()


def test_where_folders_cannot_be_opened_files_are_saved_all_the_same(tmp_path, monkeypatch):
    opened, original = [], os.open
    monkeypatch.setattr(files, "HAS_OPEN_FOLDERS", False)
    monkeypatch.setattr(
        os, "open", lambda path, flags, *rest: opened.append((path, flags)) or original(path, flags, *rest)
    )
    (tmp_path / "file").write_text("x")
    files.sync(tmp_path)
    files.sync(tmp_path / "file")
    assert opened == [(tmp_path / "file", os.O_RDWR)]  # Windows saves no file that is open to be read


def test_without_their_signals_a_run_stops_at_ctrl_c(monkeypatch):
    monkeypatch.setattr(signals, "HANGUP", None)
    for owner, name in [(signal, "SIGALRM"), (os, "register_at_fork"), (os, "set_blocking")]:
        monkeypatch.delattr(owner, name)
    with signals.StopSignals() as stop:
        assert not stop.has_come()
        signal.raise_signal(signal.SIGINT)
        assert stop.has_come()


def test_without_proc_threads_are_as_many_as_cores(tmp_path, monkeypatch):
    original = Path.is_file
    monkeypatch.setattr(
        Path, "is_file", lambda path: path.parts[1:2] not in [("proc",), ("sys",)] and original(path)
    )
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    before = torch.get_num_threads()
    try:
        adaptive = threads.Threads(None)
        assert 1 <= adaptive.count <= (os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)
    assert machine.describe_system()["processor"]


def test_without_limits_nothing_is_refused_for_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it raises
    monkeypatch.delattr(os, "sysconf")
    assert estimates._limit("RLIMIT_NOFILE") == estimates.UNLIMITED
    assert estimates.ram_bytes() > 2**20
    assert estimates.check_envs(1, is_apart=True, option="--num_envs") is None


def test_mps_takes_no_state_and_auto_takes_no_mps():
    spec = StreamSpec(video=(1, 36, 36), audio=(0, 0, 0), state=3)
    with pytest.raises(UsageError, match="which mps has not: choose --device cpu"):
        build_agent(TrainAgentConfig(), spec, (4,), torch.device("mps"))
