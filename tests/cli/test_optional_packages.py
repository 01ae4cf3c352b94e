"""Optional packages: no module imports one at its head, and a missing one fails what needs it alone."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from spl import DISTRIBUTION
from spl.cli.main import COMMANDS
from spl.packages import install_advice

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WORKBENCH = ("dev", "docs", "bench")  # extras of who works on spl itself
SLOW = {"torchvision", "torchaudio", "sklearn", "scipy", "matplotlib"}  # core, and not needed to tell options
TINY = ["--num_threads", "1", "--device", "cpu"]


def modules_of(distribution: str) -> set[str]:
    """Return the names under which a distribution is imported; its own where it is not installed."""
    own = distribution.lower().replace("_", "-")
    found = {
        module
        for module, owners in metadata.packages_distributions().items()
        if own in {owner.lower().replace("_", "-") for owner in owners} and module.isidentifier()
    }
    return found or {own.replace("-", "_")}


def of_extras(*extras: str) -> dict[str, set[str]]:
    """Return the modules of each distribution that is asked for by one of the extras."""
    requirements = [requirement for extra in extras for requirement in EXTRAS[extra]]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in requirements]
    return {name: modules_of(name) for name in names if name != DISTRIBUTION}


OPTIONAL = {"av": {"av"}, **of_extras(*(extra for extra in EXTRAS if extra not in WORKBENCH))}  # and PyAV
REQUIRING = {"pygame-ce": {"vizdoom"}}  # what requires it by itself, and is not there without it
ALL = set().union(*OPTIONAL.values(), *of_extras(*WORKBENCH).values())


def imported_at_once(tree: ast.AST) -> set[str]:
    """Return the modules that are imported when a module is: not within functions, not for types alone."""
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return set()
    if isinstance(tree, ast.Import):
        return {alias.name for alias in tree.names}
    if isinstance(tree, ast.ImportFrom):
        return {f"{tree.module or ''}.{alias.name}" for alias in tree.names}
    inside = list(ast.iter_child_nodes(tree))
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        inside = list(tree.orelse)
    return set().union(*map(imported_at_once, inside))


def test_the_packages_are_those_of_the_extras():
    assert set(OPTIONAL) >= {"av", "ale-py", "vizdoom", "tensorboard"}
    assert OPTIONAL["ale-py"] == {"ale_py"}
    assert {"ale_py", "vizdoom", "tensorboard", "pytest", "timm", "captum", "stable_baselines3"} <= ALL
    assert modules_of("not-installed-anywhere") == {"not_installed_anywhere"}
    assert not ALL & {"torch", "numpy", "gymnasium", "spl"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import av", {"av"}),
        ("import av.video as x, os", {"av.video", "os"}),
        ("from torch.utils.tensorboard import SummaryWriter", {"torch.utils.tensorboard.SummaryWriter"}),
        ("from torch.utils import tensorboard", {"torch.utils.tensorboard"}),
        ("try:\n    import av\nexcept ImportError:\n    import os", {"av", "os"}),
        ("if True:\n    with x:\n        import av", {"av"}),
        ("class A:\n    import av", {"av"}),
        ("def f():\n    import av", set()),
        ("class A:\n    def f(self):\n        import av", set()),
        ("if TYPE_CHECKING:\n    import av\nelse:\n    import os", {"os"}),
        ("if not TYPE_CHECKING:\n    import av", {"av"}),
    ],
)
def test_imports_at_once_are_found(text, found):
    assert imported_at_once(ast.parse(text)) == found


def test_no_module_imports_an_optional_package_at_its_head():
    files = [path for folder in ("spl", "agents", "envs") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 150
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_at_once(ast.parse(path.read_text()))
        if name.partition(".")[0] in ALL | SLOW
    ]
    assert not wrong


def test_help_of_no_command_imports_matplotlib():
    code = (
        "import contextlib, io, sys\n"
        "from spl.cli.main import main\n"
        f"for words in {list(COMMANDS)!r}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as told:\n"
        "        main([*words, '--help'])\n"
        "    assert '--help' in told.getvalue() or 'spl' in told.getvalue(), words\n"
        "    assert 'matplotlib' not in sys.modules, words\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Each needs no optional package, PyAV among them.
RUNS_OF_THE_CORE = [
    ["envs"],
    ["train", "agent", "--config", "smoke/agent", "--num_steps", "60", "--env.kwargs.num_rounds", "4", *TINY],
    ["evaluate", "agent", "{agent}", "--num_episodes", "1", "--num_seeds", "1", "--device", "cpu"],
    ["record", "--num_steps", "30", "--out", "recording"],
]
COMMANDS_OF_THE_CORE = [
    ["--help"],
    ["--version"],
    *([*words, "--help"] for words in COMMANDS),
    ["presets"],
    ["models", "resnet20", "--attention", "none"],
    ["check", "env", "spl/Beacon-v0", "--num_steps", "40"],
    *RUNS_OF_THE_CORE,
    ["pretrain", "autoencoder", "--data", "recording", "--data.history", "1", "--recipe.epochs", "1", *TINY],
    ["report", "{agent}"],
]
CORE = {  # run where what is missing; alone, one that brings environments is missed by their list at most
    **{name: [] for name in OPTIONAL},
    **{name: [["envs"]] for name in ("ale-py", "Box2D", "vizdoom", "minigrid", "stable-retro", "pygame-ce")},
    "av": RUNS_OF_THE_CORE,
    "all": COMMANDS_OF_THE_CORE,
}
# What needs each, and how the refusal begins.
NEEDED_BY = {
    "av": [(["film", "{agent}"], "video files are read and written by PyAV")],
    "ale-py": [
        (["train", "agent", "--config", "atari"], "ALE/Pong-v5 needs ale-py"),
        (["check", "env", "ALE/Pong-v5"], "ALE/Pong-v5 needs ale-py"),
        (["envs", "ALE/Breakout-v5"], "ALE/Breakout-v5 needs ale-py"),
    ],
    "Box2D": [(["check", "env", "CarRacing-v3"], "CarRacing-v3 needs Box2D")],
    "vizdoom": [
        (["train", "agent", "--config", "doom"], "VizdoomBasicAudio-v1 needs vizdoom"),
        (["record", "--env", "VizdoomBasicAudio-v1"], "VizdoomBasicAudio-v1 needs vizdoom"),
    ],
    "onnx": [(["export", "agent", "run"], "--to onnx needs onnx")],
    "onnxscript": [],  # asked for with onnx
    "onnxruntime": [],
    **{
        name: [(["train", *words, "--track", name], f"--track {name} needs {name}")]
        for name, words in {"tensorboard": ["agent"], "mlflow": ["agent"], "wandb": ["classifier"]}.items()
    },
    "huggingface-hub": [
        (["evaluate", "agent", "hub:someone/agent"], "hub:someone/agent needs huggingface_hub")
    ],
    "minari": [
        (["record", "--format", "minari", "--out", "a-v0"], "minari:a-v0 needs minari"),
        (["pretrain", "autoencoder", "--data", "minari:a-v0"], "minari:a-v0 needs minari"),
    ],
    "pyarrow": [
        (["record", "--format", "lerobot", "--out", "a"], "lerobot:a needs pyarrow"),
        (["pretrain", "autoencoder", "--data", "lerobot:a"], "lerobot:a needs pyarrow"),
    ],
    "h5py": [],  # asked for with minari
    "minigrid": [],
    "ray": [
        (["train", "agent", "--seeds", "0-1", "--ray", "auto"], "--ray auto needs ray"),
        (["train", "agent", "--collectors", "2"], "--collectors 2 needs ray"),
    ],
    "optuna": [(["search", "agent", "--space", "x"], "spl search needs optuna")],
    "pygame-ce": [(["watch", "spl/Beacon-v0", "--human"], "spl watch needs pygame-ce")],
    "stable-retro": [
        (
            ["train", "agent", "--env", "retro:Airstriker-Genesis"],
            "retro:Airstriker-Genesis needs stable-retro",
        )
    ],
}


def needed_by(missing):
    """Return the commands that need what is missing, and how each refusal begins and ends."""
    names = OPTIONAL if missing == "all" else [missing]
    return [
        (words, f"spl: {begin}: {install_advice(name)}\n")
        for name in names
        for words, begin in NEEDED_BY[name]
    ]


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """How the commands ended, by what was missing: each optional package in turn, and all at once."""
    place = tmp_path_factory.mktemp("without")
    driver = Path(__file__).parents[1] / "commands_without.py"
    (place / "path").mkdir()
    shutil.copy(driver, place / "path" / "sitecustomize.py")
    plan = {
        "sets": {
            **{name: sorted(modules | REQUIRING.get(name, set())) for name, modules in OPTIONAL.items()},
            "all": sorted(ALL),
        },
        "commands": {name: [*CORE[name], *(words for words, _ in needed_by(name))] for name in CORE},
    }
    (place / "plan.json").write_text(json.dumps(plan))
    environment = {**os.environ, "PYTHONPATH": str(place / "path"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(driver), str(place / "plan.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    told = {path.parent.name: json.loads(path.read_text()) for path in place.glob("*/ends.json")}
    assert set(told) == set(plan["sets"]), done.stderr
    return told


def test_each_optional_package_says_what_needs_it():
    assert set(NEEDED_BY) == set(OPTIONAL)


@pytest.mark.parametrize("missing", [*OPTIONAL, "all"])
def test_what_does_not_need_it_runs(ends, missing):
    assert not ends[missing]["loaded"]  # by a package of the core
    core = ends[missing]["ends"][: len(CORE[missing])]
    assert not [end for end in core if end["code"] != 0 or "Traceback" in end["told"]]
    assert len(core) == len(CORE[missing]) >= {"all": 25, "av": 4}.get(missing, 0)


@pytest.mark.parametrize("missing", [name for name, needed in NEEDED_BY.items() if needed] + ["all"])
def test_what_needs_it_ends_in_a_sentence_that_says_what_to_install(ends, missing):
    refused = ends[missing]["ends"][len(CORE[missing]) :]
    told = [(end["code"], end["told"]) for end in refused]
    assert told == [(2, sentence) for _, sentence in needed_by(missing)]
