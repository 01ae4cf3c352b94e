"""Which commit files are of, whether they were changed, and the version that says so."""

import subprocess
import sys
from pathlib import Path

import pytest

import spl
from spl.runs.commit import describe_version, read_commit
from spl.runs.machine import describe_system

ROOT = Path(__file__).parents[2]


def test_the_commit_of_a_folder_tells_whether_it_was_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert read_commit(tmp_path) is None
    git("init")
    file = tmp_path / "__init__.py"
    file.write_text("")
    assert read_commit(tmp_path) is None  # under no one's control yet
    git("add", ".")
    git("commit", "-m", "Begin")
    commit = git("rev-parse", "HEAD")
    assert read_commit(tmp_path) == commit
    file.write_text("changed = True\n")
    assert read_commit(tmp_path) == f"{commit} + changes"
    assert describe_version("0.1.0", tmp_path) == f"0.1.0 ({commit[:7]} + changes)"


def test_where_there_is_no_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_commit(Path(__file__).parent) is None
    assert describe_version("0.1.0", Path(__file__).parent) == "0.1.0"
    assert describe_system()["commit"] is None


def test_a_build_holds_its_commit_where_there_is_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        "-e",
        str(tmp_path),
        "build_py",
        "-d",
        str(tmp_path),
    ]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    built = {"PATH": "", "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-m", "spl.cli.main", "--version"],
        cwd=tmp_path,
        env=built,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.strip() == describe_version(spl.__version__, ROOT / "spl")
    assert "(" in said  # the commit of this checkout
    monkeypatch.setenv("PATH", "")
    assert read_commit(ROOT / "spl") is None  # nothing was written into the checkout
    assert read_commit(tmp_path / "spl") is not None
