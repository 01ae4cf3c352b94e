"""The advice for a missing package: its name and the range of our own metadata."""

import importlib
import sys
from pathlib import Path

import pytest

import spl
from spl import packages
from spl.config.errors import UsageError
from spl.packages import install_advice, require, requirements, version_range


def test_the_advice_names_the_package_and_its_range():
    assert install_advice("ale-py") == "pip install 'ale-py>=0.11,<0.13'"
    assert install_advice("ale_py") == "pip install 'ale_py>=0.11,<0.13'"  # by either name
    assert install_advice("vizdoom") == "pip install 'vizdoom>=1.3,<2'"
    assert install_advice("ruff", "--upgrade") == "pip install --upgrade 'ruff>=0.9'"


@pytest.mark.parametrize(
    ("requirement", "range_of_it"),
    [
        ("left-pad", ""),
        ("left-pad; extra == 'x'", ""),
        ("left-pad<2,>=1; extra == 'x'", ">=1,<2"),
        ("Left.Pad[more] (<2, >=1.5) ; python_version < '4'", ">=1.5,<2"),
        ("left-padding>=7", ""),
    ],
)
def test_ranges_are_read_from_every_form_of_requirement(monkeypatch, requirement, range_of_it):
    monkeypatch.setattr(packages, "requirements", lambda: ["other>=3", requirement])
    assert version_range("left-pad") == range_of_it


def test_an_uninstalled_checkout_gives_what_the_installed_distribution_gives(monkeypatch):
    told = {name: version_range(name) for name in ("torch", "av", "ale-py", "vizdoom", "tensorboard", "timm")}
    assert all(told.values())
    monkeypatch.setattr(packages, "DISTRIBUTION", "not-installed-anywhere")
    assert {name: version_range(name) for name in told} == told


def test_a_tree_without_metadata_gives_the_bare_name(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "DISTRIBUTION", "not-installed-anywhere")
    monkeypatch.setattr(packages, "__file__", str(tmp_path / "spl" / "packages.py"))
    assert requirements() == []
    assert install_advice("ale-py") == "pip install 'ale-py'"


def test_what_is_installed_is_returned():
    assert require("importlib", "never told") is importlib


def test_a_missing_and_a_broken_package_are_told_apart(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(UsageError) as missing:
        require("vizdoom", "Doom needs vizdoom")
    assert str(missing.value) == "Doom needs vizdoom: pip install 'vizdoom>=1.3,<2'"
    (tmp_path / "broken_for_tests.py").write_text("import no_such_module_for_tests\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as broken:
        require("broken_for_tests", "This needs it")
    cause = "No module named 'no_such_module_for_tests'"
    assert str(broken.value) == (
        f"This needs it, which is installed but cannot be imported ({cause}): "
        "pip install --force-reinstall 'broken-for-tests'"
    )


def test_nobody_is_sent_to_a_distribution_that_is_not_ours():
    root = Path(__file__).parent.parent
    files = [
        path for folder in ("spl", "agents", "envs", "scripts", "docs") for path in (root / folder).rglob("*")
    ]
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in (".py", ".md", ".sh", ".html")}
    texts |= {path: path.read_text("utf-8") for path in (root / "README.md", root / "Makefile")}
    assert len(texts) > 150
    assert not [path for path, text in texts.items() if "spl[" in text or "install spl" in text]
    assert spl.DISTRIBUTION != "spl"
