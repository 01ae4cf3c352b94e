"""The packages: which may import which, how large they may grow, and that the wheel lists all of them."""

import re
import runpy
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PICTURE = runpy.run_path(str(ROOT / "scripts" / "figures" / "packages.py"))
MOST_LINES = 300  # of a module
MOST_LINES_OF_PACKAGE = 2_000
LARGE = {"spl.agents", "spl.envs"}  # their sub-packages count, not what stands beside them
GROUND = {  # what every package may import
    "spl",
    "spl.config",
    "spl.eval_mode",
    "spl.folder_files",
    "spl.packages",
    "spl.plotting",
    "spl.printable",
    "spl.receptive_fields",
    "spl.records",
}
# Package -> what it may import beside the ground; a package that is not listed fails the test.
MAY_IMPORT: dict[str, set[str]] = {
    "spl.processes": set(),
    "spl.pretrain.studies": {"ablation", "data", "pretrain", "runs"},
    "spl.runs": {"processes"},
    "spl.attention": set(),
    "spl.attention.insertion": {"attention"},
    "spl.envs.worlds": set(),
    "spl.training": {"attention", "processes", "runs"},
    "spl.curriculum": {"runs"},
    "spl.media": {"processes", "runs"},
    "spl.models": {"attention"},
    "spl.models.image": {"attention", "attention.insertion", "runs"},
    "spl.data": {"curriculum", "data.images", "media", "processes", "runs"},
    "spl.data.exchange": {"data", "envs", "runs"},
    "spl.data.images": {"runs"},
    "spl.ablation": {"curriculum", "processes", "runs", "training"},
    "spl.saliency": {"attention", "models"},
    "spl.classify.ablation": {
        "ablation",
        "attention",
        "classify",
        "data",
        "data.images",
        "models.image",
        "runs",
    },
    "spl.classify.evaluation": {"classify", "data", "data.images", "models.image", "runs", "saliency"},
    "spl.classify": {
        "ablation",
        "curriculum",
        "data",
        "data.images",
        "models.image",
        "processes",
        "runs",
        "saliency",
        "training",
    },
    "spl.pretrain.evaluation": {"ablation", "data", "media", "models", "runs"},
    "spl.pretrain": {
        "ablation",
        "curriculum",
        "data",
        "data.exchange",
        "media",
        "models",
        "pretrain.evaluation",
        "processes",
        "runs",
        "training",
    },
    "spl.explain": {
        "attention",
        "classify",
        "data",
        "data.images",
        "media",
        "models",
        "models.image",
        "pretrain",
        "runs",
        "saliency",
    },
    "spl.report": {"data.images", "pretrain.evaluation", "runs"},
    "spl.envs": {"media", "processes"},
    "spl.envs.check": {"envs", "processes", "runs"},
    "spl.agents.replay": {"data", "runs"},
    "spl.agents.collectors": {"agents.replay", "envs", "processes"},
    "spl.agents.q_network": {"models", "training"},
    "spl.agents": {
        "agents.collectors",
        "agents.monitor",
        "agents.q_network",
        "agents.replay",
        "curriculum",
        "data",
        "data.exchange",
        "envs",
        "explain",
        "models",
        "pretrain",
        "processes",
        "runs",
        "training",
    },
    "spl.agents.monitor": {"runs"},
    "spl.agents.evaluation": {
        "ablation",
        "agents",
        "agents.monitor",
        "agents.q_network",
        "envs",
        "explain",
        "media",
        "processes",
        "runs",
        "saliency",
    },
    "spl.agents.sharing": {"agents", "envs", "media", "runs"},
    "spl.agents.studies": {"ablation", "agents", "agents.collectors", "agents.evaluation", "envs", "runs"},
    "spl.agents.film": {
        "agents",
        "agents.evaluation",
        "agents.monitor",
        "envs",
        "explain",
        "media",
        "processes",
        "runs",
    },
    "spl.cli": {
        "ablation",
        "agents",
        "agents.evaluation",
        "agents.film",
        "agents.sharing",
        "agents.studies",
        "classify",
        "classify.ablation",
        "classify.evaluation",
        "curriculum",
        "envs",
        "envs.check",
        "explain",
        "models.image",
        "pretrain",
        "pretrain.evaluation",
        "pretrain.studies",
        "processes",
        "report",
        "runs",
    },
    "spl.__main__": {"cli"},
}
# Package of the ground -> what of the ground it may import.
WITHIN_GROUND: dict[str, set[str]] = {
    "spl": set(),
    "spl.config": set(),
    "spl.eval_mode": set(),
    "spl.folder_files": {"spl.config", "spl.printable"},
    "spl.packages": {"spl", "spl.config"},
    "spl.plotting": {"spl.printable"},
    "spl.printable": set(),
    "spl.receptive_fields": {"spl.eval_mode"},
    "spl.records": set(),
}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its installed name."""
    return PICTURE["modules_of"](ROOT)


def packages() -> set[str]:
    """The names of the packages, sub-packages too."""
    return {name for name, path in modules().items() if path.name == "__init__.py"}


def package_of(name: str) -> str:
    """The package that a module belongs to; a module beside them in ``spl/`` is its own."""
    return PICTURE["package_of"](name, modules())


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it, as the picture of the packages shows them."""
    return PICTURE["imports_of"](path, modules())


def arrows(name: str) -> set[str]:
    """The packages that a package imports."""
    inside = [path for module, path in modules().items() if package_of(module) == name]
    return {package_of(one) for path in inside for one in imports_of(path)} - {name}


def rows_of_design() -> dict[str, set[str]]:
    """Package -> what it may import beside the ground, as the table of docs/design.md says."""
    text = (ROOT / "docs/design.md").read_text()
    rows = re.findall(r"^\| `((?:spl|envs|agents)/(?:[^`]*/)?)` \|.*\| (.*) \|$", text, re.M)
    names = {one.rstrip("/").replace("/", "."): set(re.findall(r"`([^`]+)`", may)) for one, may in rows}
    return {one if one.startswith("spl.") else f"spl.{one}": may for one, may in names.items()}


def lines_of(path: Path) -> int:
    return path.read_text().count("\n")


@pytest.mark.parametrize("name", sorted({package_of(name) for name in modules()}))
def test_a_package_imports_only_what_it_may(name):
    assert name in MAY_IMPORT.keys() | GROUND, f"give {name} a row in MAY_IMPORT"
    if name in GROUND:
        assert arrows(name) <= WITHIN_GROUND[name]
    else:
        assert arrows(name) - GROUND <= {f"spl.{one}" for one in MAY_IMPORT[name]}


def test_the_tables_have_no_stale_row_and_no_circle():
    allowed = {name: {f"spl.{one}" for one in may} for name, may in MAY_IMPORT.items()} | WITHIN_GROUND
    assert allowed.keys() == {package_of(name) for name in modules()}
    for name, may in MAY_IMPORT.items():
        unused = {f"spl.{one}" for one in may} - arrows(name)
        assert not unused, f"{name} no longer imports {sorted(unused)}"
    while free := [name for name, may in allowed.items() if not may & allowed.keys()]:
        for name in free:
            del allowed[name]
    assert not allowed, f"a circle among {sorted(allowed)}"


def test_the_design_document_has_the_same_table():
    """A new package, or a new import between packages, is also written into docs/design.md."""
    free = ("spl.cli", "spl.__main__")
    assert {name: may for name, may in rows_of_design().items() if name not in free} == {
        name: may for name, may in MAY_IMPORT.items() if name not in free
    }


def test_inside_spl_only_the_command_line_sees_agents_and_envs():
    """But for another's dataset, which is played as an environment."""
    outer, free = ("spl.agents", "spl.envs"), ("spl.cli", "spl", "spl.data.exchange")
    for name in {package_of(name) for name in modules()}:
        if not name.startswith(outer) and name not in free:
            assert not {other for other in arrows(name) if other.startswith(outer)}


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_fits_in_the_head(name):
    assert lines_of(modules()[name]) <= MOST_LINES


@pytest.mark.parametrize("name", sorted(packages() - LARGE))
def test_a_package_fits_in_an_afternoon(name):
    inside = [path for module, path in modules().items() if package_of(module) == name]
    assert sum(map(lines_of, inside)) <= MOST_LINES_OF_PACKAGE


def test_the_wheel_lists_the_packages_of_the_tree():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == packages() | {"spl.configs"}  # the presets: data alone


def test_tests_mirror_the_packages():
    parts = [path.relative_to(ROOT / "tests").parts[:-1] for path in (ROOT / "tests").rglob("test_*.py")]
    folders = {".".join(("spl", *one)) for one in parts}
    assert folders <= packages() | {"spl", "spl.scripts"}  # scripts are no package, and tested all the same


def test_environments_import_no_torch():
    code = (
        "import sys, spl.media.log_mel, spl.envs.worlds.beacon, spl.envs.registry, spl.envs.check.examine; "
        "assert 'torch' not in sys.modules, 'a worker would load torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_neither_torch_nor_gymnasium():
    code = (
        "import sys; from spl.cli.main import main; main(['--help']); "
        "assert not {'torch', 'gymnasium', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
