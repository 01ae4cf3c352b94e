"""Runs commands where packages are missing, and tells as JSON how each ended; no test in itself.

``python commands_without.py PLAN.json`` runs the plan's commands of each of its sets of missing packages in a
process forked from this one, which has imported what takes long, and in a folder of its own. Copied to
``sitecustomize.py`` on the path, this file makes packages missing in the processes that commands start, too.
"""

import contextlib
import importlib.abc
import io
import json
import os
import sys
import traceback
from pathlib import Path

SLOW = (
    "torch",
    "torchvision.transforms.v2",
    "torchaudio",
    "matplotlib.backends.backend_svg",
    "matplotlib.pyplot",
    "gymnasium.vector",
    "rich.console",
    "jinja2",
)


class Without(importlib.abc.MetaPathFinder):
    """Finds what another finder does, but for some packages: these are missing to whoever asks or imports."""

    def __init__(self, finder, packages):
        self.finder, self.packages = finder, packages

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, fullname, path=None, target=None):
        is_missing = fullname.partition(".")[0] in self.packages
        return None if is_missing else self.finder.find_spec(fullname, path, target)


def hide(packages):
    """Make packages missing in this process."""
    packages = frozenset(packages)
    sys.meta_path[:] = [Without(finder, packages) for finder in sys.meta_path]


def run(words):
    """Return how a command ended; ``{kind}`` among its words is the folder of the first run of that kind."""
    from spl.cli.main import main

    runs = {folder.name: str(min(folder.iterdir())) for folder in Path("runs").glob("*/")}
    words = [word.format_map(runs) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = -1
    return {"command": " ".join(words), "code": code, "told": err.getvalue()}


def run_all(packages, commands, folder):
    """Run commands where packages are missing, and write how they ended to ``ends.json`` in ``folder``."""
    folder.mkdir()
    os.chdir(folder)
    os.environ["SPL_WITHOUT"] = ",".join(packages)
    hide(packages)
    loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(packages))
    ends = [run(words) for words in commands]
    (folder / "ends.json").write_text(json.dumps({"loaded": loaded, "ends": ends}))


def main(plan_file):
    plan = json.loads(Path(plan_file).read_text())
    for name in SLOW:
        importlib.import_module(name)
    for name, packages in plan["sets"].items():
        if (child := os.fork()) == 0:
            code = 1
            try:
                run_all(packages, plan["commands"][name], Path(plan_file).parent / name)
                code = 0
            finally:
                os._exit(code)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
elif __name__ == "sitecustomize":
    hide(filter(None, os.environ.get("SPL_WITHOUT", "").split(",")))
