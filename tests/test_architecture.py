"""The rooms of the house: who may import whom, and that the package lists what lies in the tree."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = {"spl", "spl.config", "spl.records", "spl.files"}  # know nothing of the others
# Module -> what it may import beside BASE. A module that is missing here fails the test.
MAY_IMPORT: dict[str, set[str]] = {
    "spl": set(),
    "spl.__main__": {"spl.cli"},
    "spl.config": set(),
    "spl.records": set(),
    "spl.files": set(),
    "spl.report": set(),
    "spl.state": set(),
    "spl.runs": set(),
    "spl.signals": set(),
    "spl.threads": set(),
    "spl.compilation": set(),
    "spl.borrowing": set(),
    "spl.checkpoint": {"spl.state"},
    "spl.losses": set(),
    "spl.curriculum": set(),
    "spl.descent": set(),
    "spl.spectrogram": set(),
    "spl.pairs": {"spl.spectrogram"},
    "spl.recordings": {"spl.pairs", "spl.recording"},
    "spl.inversion": {"spl.spectrogram"},
    "spl.media": set(),
    "spl.filming": {"spl.media"},
    "spl.decoding": {"spl.media", "spl.spectrogram"},
    "spl.clips": {"spl.decoding", "spl.media", "spl.pairs", "spl.report"},
    "spl.attention": {"spl.attention.insertion", "spl.attention.maps", "spl.attention.table"},
    "spl.attention.table": {
        "spl.attention.cbam",
        "spl.attention.csm",
        "spl.attention.eca",
        "spl.attention.ham",
        "spl.attention.rcca",
        "spl.attention.se",
        "spl.attention.shared",
    },
    "spl.attention.insertion": {"spl.attention.places", "spl.attention.shared", "spl.attention.table"},
    "spl.attention.places": {"spl.borrowing"},
    "spl.attention.picture": {"spl.attention.maps"},
    "spl.attention.cbam": {"spl.attention.maps", "spl.attention.pooling", "spl.attention.se"},
    "spl.attention.csm": {"spl.attention.cbam", "spl.attention.maps", "spl.attention.se"},
    "spl.attention.eca": {"spl.attention.maps", "spl.attention.pooling"},
    "spl.attention.ham": {"spl.attention.eca", "spl.attention.maps", "spl.attention.pooling"},
    "spl.attention.maps": set(),
    "spl.attention.pooling": set(),
    "spl.attention.rcca": {"spl.attention.maps"},
    "spl.attention.se": {"spl.attention.maps", "spl.attention.pooling"},
    "spl.attention.shared": {"spl.attention.se"},
    "spl.resnet": {"spl.attention", "spl.attention.rcca", "spl.attention.shared", "spl.attention.table"},
    "spl.saliency": {
        "spl.saliency.cam",
        "spl.saliency.changes",
        "spl.saliency.looking",
        "spl.saliency.scores",
        "spl.saliency.table",
    },
    "spl.saliency.table": {"spl.saliency.cam", "spl.saliency.changes", "spl.saliency.looking"},
    "spl.saliency.cam": {"spl.borrowing", "spl.saliency.layers"},
    "spl.saliency.changes": {"spl.borrowing", "spl.saliency.layers"},
    "spl.saliency.looking": {"spl.attention.maps", "spl.borrowing", "spl.saliency.layers"},
    "spl.saliency.scores": {"spl.autoencoder", "spl.borrowing", "spl.saliency.layers"},
    "spl.saliency.layers": {"spl.borrowing"},
    "spl.saliency.measures": {"spl.borrowing", "spl.saliency.layers", "spl.saliency.scores"},
    "spl.explain": set(),
    "spl.explain.overlay": set(),
    "spl.explain.senses": {"spl.encoders", "spl.saliency.layers", "spl.streams"},
    "spl.explain.episode": {"spl.explain.overlay", "spl.shapley"},
    "spl.explain.subjects": {
        "spl.batches",
        "spl.classify.classifier",
        "spl.classify.evaluate",
        "spl.classify.run",
        "spl.datasets",
        "spl.resnet",
        "spl.saliency",
    },
    "spl.explain.tables": {"spl.explain.subjects", "spl.report", "spl.saliency.measures"},
    "spl.explain.figures": {"spl.explain.overlay", "spl.explain.subjects", "spl.explain.tables"},
    "spl.explain.classifier": {
        "spl.explain.figures",
        "spl.explain.subjects",
        "spl.explain.tables",
        "spl.report",
        "spl.saliency",
        "spl.saliency.measures",
    },
    "spl.arguments": {"spl.runs"},
    "spl.shapley": {"spl.borrowing", "spl.saliency.layers"},
    "spl.counts": set(),
    "spl.models": {"spl.attention", "spl.counts", "spl.report", "spl.resnet"},
    "spl.streams": {"spl.attention"},
    "spl.encoders": {"spl.streams"},
    "spl.autoencoder": {"spl.encoders", "spl.streams"},
    "spl.corruptions": set(),
    "spl.moments": set(),
    "spl.greedy": {"spl.autoencoder", "spl.corruptions", "spl.losses", "spl.streams"},
    "spl.cli": {
        "spl.arguments",
        "spl.explain.classifier",
        "spl.explain.tables",
        "spl.models",
        "spl.classify.ablate",
        "spl.classify.evaluate",
        "spl.classify.grid",
        "spl.classify.report",
        "spl.classify.run",
        "spl.classify.tables",
        "spl.classify.train",
        "spl.pretrain.evaluate",
        "spl.pretrain.report",
        "spl.pretrain.run",
        "spl.pretrain.train",
        "spl.runs",
        "spl.report",
        "spl.envs.catalog",
        "spl.envs.checkup",
        "spl.envs.doctor",
        "spl.agents.pretrained",
        "spl.agents.run",
        "spl.agents.train",
        "spl.agents.evaluate",
        "spl.agents.record",
        "spl.agents.explain",
    },
    "spl.envs": set(),
    "spl.envs.scenery": set(),
    "spl.envs.worlds": {"spl.envs.scenery"},
    "spl.envs.atari": set(),
    "spl.envs.doom": set(),
    "spl.envs.senses": set(),
    "spl.envs.streams": set(),
    "spl.envs.adapter": {"spl.spectrogram", "spl.envs.senses", "spl.envs.streams"},
    "spl.envs.seeded": {"spl.envs.adapter", "spl.envs.catalog"},
    "spl.envs.fleet": {"spl.envs.adapter", "spl.envs.seeded"},
    "spl.envs.catalog": {"spl.envs", "spl.envs.adapter", "spl.envs.atari", "spl.envs.doom"},
    "spl.envs.symptoms": set(),
    "spl.envs.hearing": {"spl.envs.symptoms"},
    "spl.envs.checkup": {
        "spl.envs.adapter",
        "spl.envs.catalog",
        "spl.envs.hearing",
        "spl.envs.streams",
        "spl.envs.symptoms",
    },
    "spl.envs.doctor": {"spl.envs.catalog", "spl.envs.checkup", "spl.envs.symptoms", "spl.report"},
    "spl.anomaly": {"spl.attention.maps", "spl.descent"},
    "spl.datasets": set(),
    "spl.batches": {"spl.datasets"},
    "spl.classify": set(),
    "spl.schedule": set(),
    "spl.classify.scores": set(),
    "spl.classify.classifier": {
        "spl.batches",
        "spl.borrowing",
        "spl.schedule",
        "spl.classify.scores",
        "spl.descent",
        "spl.losses",
    },
    "spl.classify.run": {
        "spl.classify.classifier",
        "spl.compilation",
        "spl.curriculum",
        "spl.datasets",
        "spl.resnet",
        "spl.runs",
    },
    "spl.classify.training": {
        "spl.anomaly",
        "spl.batches",
        "spl.checkpoint",
        "spl.classify.run",
        "spl.classify.scores",
        "spl.datasets",
        "spl.descent",
        "spl.report",
        "spl.signals",
        "spl.state",
        "spl.threads",
    },
    "spl.classify.train": {"spl.classify.run", "spl.classify.training", "spl.datasets", "spl.runs"},
    "spl.classify.report": {"spl.report"},
    "spl.classify.evaluate": {
        "spl.batches",
        "spl.checkpoint",
        "spl.classify.classifier",
        "spl.classify.run",
        "spl.classify.scores",
        "spl.datasets",
        "spl.runs",
    },
    "spl.classify.comparison": set(),
    "spl.classify.figures": {"spl.classify.comparison"},
    "spl.classify.tables": {
        "spl.classify.comparison",
        "spl.classify.figures",
        "spl.classify.run",
        "spl.datasets",
        "spl.report",
    },
    "spl.classify.grid": {"spl.attention", "spl.classify", "spl.classify.run", "spl.resnet"},
    "spl.classify.ablate": {
        "spl.classify.comparison",
        "spl.classify.grid",
        "spl.classify.run",
        "spl.classify.tables",
        "spl.classify.train",
        "spl.counts",
        "spl.datasets",
        "spl.report",
        "spl.runs",
        "spl.signals",
    },
    "spl.pretrain": set(),
    "spl.pretrain.data": {"spl.clips", "spl.pairs", "spl.pretrain.objective", "spl.recordings"},
    "spl.pretrain.objective": {
        "spl.autoencoder",
        "spl.corruptions",
        "spl.losses",
        "spl.pairs",
        "spl.streams",
    },
    "spl.pretrain.learner": {
        "spl.autoencoder",
        "spl.descent",
        "spl.pairs",
        "spl.pretrain.objective",
        "spl.schedule",
    },
    "spl.pretrain.run": {
        "spl.autoencoder",
        "spl.curriculum",
        "spl.encoders",
        "spl.moments",
        "spl.pairs",
        "spl.pretrain.data",
        "spl.pretrain.learner",
        "spl.pretrain.objective",
        "spl.runs",
        "spl.streams",
    },
    "spl.pretrain.gallery": {"spl.autoencoder", "spl.inversion", "spl.pairs", "spl.streams"},
    "spl.pretrain.training": {
        "spl.autoencoder",
        "spl.checkpoint",
        "spl.descent",
        "spl.moments",
        "spl.pairs",
        "spl.pretrain.data",
        "spl.pretrain.gallery",
        "spl.pretrain.objective",
        "spl.pretrain.run",
        "spl.report",
        "spl.signals",
        "spl.state",
        "spl.threads",
    },
    "spl.pretrain.train": {
        "spl.pairs",
        "spl.pretrain.data",
        "spl.pretrain.run",
        "spl.pretrain.training",
        "spl.runs",
    },
    "spl.pretrain.scores": set(),
    "spl.pretrain.report": {"spl.autoencoder", "spl.pairs", "spl.pretrain.scores", "spl.report"},
    "spl.pretrain.trained": {
        "spl.autoencoder",
        "spl.checkpoint",
        "spl.pairs",
        "spl.pretrain.run",
        "spl.runs",
        "spl.streams",
    },
    "spl.pretrain.evaluate": {
        "spl.autoencoder",
        "spl.classify.comparison",
        "spl.clips",
        "spl.pairs",
        "spl.pretrain.data",
        "spl.pretrain.report",
        "spl.pretrain.scores",
        "spl.pretrain.trained",
    },
    "spl.agents": set(),
    "spl.recording": set(),
    "spl.agents.saves": {"spl.recording"},
    "spl.agents.mirror": set(),
    "spl.agents.windows": {"spl.agents.mirror", "spl.recording"},
    "spl.agents.memory": {
        "spl.agents.mirror",
        "spl.recording",
        "spl.agents.saves",
        "spl.agents.windows",
    },
    "spl.agents.history": set(),
    "spl.agents.exploration": set(),
    "spl.agents.protocol": {"spl.agents.history"},
    "spl.agents.precision": set(),
    "spl.agents.multimodal_dqn": {
        "spl.compilation",
        "spl.agents.exploration",
        "spl.agents.history",
        "spl.agents.precision",
        "spl.encoders",
        "spl.losses",
    },
    "spl.agents.run": {
        "spl.agents.multimodal_dqn",
        "spl.encoders",
        "spl.envs.adapter",
        "spl.pretrain.learner",
        "spl.pretrain.objective",
        "spl.runs",
    },
    "spl.agents.pretrained": {
        "spl.agents.run",
        "spl.checkpoint",
        "spl.encoders",
        "spl.pretrain.run",
        "spl.runs",
    },
    "spl.agents.pretraining": {
        "spl.agents.described",
        "spl.agents.exploration",
        "spl.agents.loop",
        "spl.agents.memory",
        "spl.agents.pretrained",
        "spl.agents.record",
        "spl.agents.run",
        "spl.agents.start",
        "spl.checkpoint",
        "spl.envs.fleet",
        "spl.pretrain.data",
        "spl.pretrain.run",
        "spl.pretrain.training",
        "spl.recording",
        "spl.recordings",
        "spl.report",
        "spl.runs",
        "spl.signals",
    },
    "spl.agents.described": set(),
    "spl.agents.loop": {
        "spl.agents.exploration",
        "spl.agents.history",
        "spl.agents.memory",
        "spl.agents.protocol",
        "spl.agents.run",
        "spl.descent",
        "spl.envs.fleet",
        "spl.envs.seeded",
    },
    "spl.agents.parts": {
        "spl.descent",
        "spl.threads",
        "spl.agents.loop",
        "spl.agents.memory",
        "spl.agents.multimodal_dqn",
        "spl.agents.run",
        "spl.signals",
        "spl.checkpoint",
        "spl.envs.fleet",
        "spl.report",
    },
    "spl.agents.start": {
        "spl.runs",
        "spl.agents.described",
        "spl.agents.exploration",
        "spl.agents.loop",
        "spl.agents.memory",
        "spl.agents.multimodal_dqn",
        "spl.agents.parts",
        "spl.agents.pretrained",
        "spl.agents.run",
        "spl.checkpoint",
        "spl.envs.fleet",
        "spl.recordings",
        "spl.state",
    },
    "spl.agents.train": {
        "spl.agents.loop",
        "spl.agents.memory",
        "spl.agents.parts",
        "spl.agents.pretrained",
        "spl.agents.pretraining",
        "spl.agents.run",
        "spl.envs.fleet",
        "spl.signals",
        "spl.agents.start",
        "spl.threads",
        "spl.curriculum",
        "spl.files",
        "spl.report",
    },
    "spl.agents.evaluate": {
        "spl.runs",
        "spl.agents.described",
        "spl.agents.history",
        "spl.agents.multimodal_dqn",
        "spl.agents.protocol",
        "spl.agents.run",
        "spl.checkpoint",
        "spl.envs.adapter",
        "spl.envs.catalog",
        "spl.envs.seeded",
        "spl.report",
        "spl.state",
    },
    "spl.agents.explain": {
        "spl.agents.evaluate",
        "spl.agents.history",
        "spl.agents.multimodal_dqn",
        "spl.explain.episode",
        "spl.explain.senses",
        "spl.report",
        "spl.saliency",
        "spl.saliency.layers",
        "spl.saliency.measures",
        "spl.shapley",
    },
    "spl.agents.record": {
        "spl.runs",
        "spl.agents.evaluate",
        "spl.agents.exploration",
        "spl.agents.history",
        "spl.agents.loop",
        "spl.agents.memory",
        "spl.agents.parts",
        "spl.recording",
        "spl.agents.run",
        "spl.signals",
        "spl.envs.adapter",
        "spl.envs.fleet",
        "spl.report",
    },
}


def modules() -> dict[str, Path]:
    """Every module of ours by its installed name."""
    found = {}
    for path in ROOT.glob("spl/**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in ("envs", "agents"):
            found[".".join(parts).removesuffix(".__init__")] = path
    for folder in ("envs", "agents"):
        for path in (ROOT / folder).glob("**/*.py"):
            parts = ("spl", *path.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= inside or {node.module}
    return found & known


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_what_its_room_may(name):
    known = modules()
    assert name in MAY_IMPORT, f"give {name} a row in MAY_IMPORT"
    assert imports_of(known[name], set(known)) - BASE <= MAY_IMPORT[name]


def test_the_table_has_no_stale_row_and_no_circle():
    assert set(MAY_IMPORT) <= set(modules())
    left = {name: set(allowed) for name, allowed in MAY_IMPORT.items()}
    while free := [name for name, allowed in left.items() if not allowed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_inside_spl_only_the_command_line_sees_agents_and_envs():
    outer = ("spl.agents", "spl.envs")
    for name, allowed in MAY_IMPORT.items():
        if not name.startswith(outer) and name != "spl.cli":
            assert not {other for other in allowed if other.startswith(outer)}


def test_packages_are_those_of_the_tree():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert set(listed) == folders


def test_environments_import_no_torch():
    code = (
        "import sys, spl.spectrogram, spl.envs.worlds, spl.envs.catalog, spl.envs.checkup; "
        "assert 'torch' not in sys.modules, 'a worker would load torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_neither_torch_nor_gymnasium():
    code = (
        "import sys; from spl.cli import main; main(['--help']); "
        "assert not {'torch', 'gymnasium', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
