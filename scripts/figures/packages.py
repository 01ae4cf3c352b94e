"""The packages and their imports as one picture, drawn from the imports themselves.

    python scripts/figures/packages.py docs/images/packages.png
    python scripts/figures/packages.py before.png --root ANOTHER_CHECKOUT

A package stands one floor above the highest that it imports. A module directly in ``spl/`` counts as its own.
"""

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, FAINT, BOX = "#24292f", "#8c959f", "#ddf4ff"
FLOOR, MOST = 0.85, 8  # inches of a row, boxes in a row


def modules_of(root: Path) -> dict[str, Path]:
    """Return every module of a checkout by its installed name."""
    found = {}
    for folder in ("spl", "envs", "agents"):
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts if folder == "spl" else ("spl", *parts)
            if folder != "spl" or parts[1] not in ("envs", "agents"):  # the links
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def package_of(name: str, modules: Mapping[str, Path]) -> str:
    """Return the package that a module belongs to; a module beside them in ``spl/`` is its own."""
    if modules[name].name == "__init__.py":
        return name
    owner = name.rpartition(".")[0]
    return name if owner == "spl" else owner


def for_types(tree: ast.Module) -> set[ast.AST]:
    """Return what stands under ``if TYPE_CHECKING`` at the head of a module."""
    heads = [one for one in tree.body if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"]
    return {node for head in heads for node in ast.walk(head)}


def imports_of(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Return those of ``modules`` that a file imports, anywhere in it.

    Left out is what ``spl/__init__.py`` imports for type checkers alone: at run time it knows the owners of
    the public names as strings, which load nothing, so that every package may still import ``spl``.
    """
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    left_out = for_types(tree) if path == modules["spl"] else set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            found |= inside or {node.module}
    return found & modules.keys()


def graph_of(root: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Return the lines of each package of a checkout, and the packages that it imports."""
    modules = modules_of(root)
    lines: Counter[str] = Counter()
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, path in modules.items():
        if name in ("spl", "spl.__main__"):
            continue
        package = package_of(name, modules)
        lines[package] += path.read_text().count("\n")
        arrows[package] |= {package_of(one, modules) for one in imports_of(path, modules) if one != "spl"}
    return dict(lines), {name: arrows[name] - {name} for name in lines}


def floors_of(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the packages from the ground up, each above all that it imports.

    Raises:
        ValueError: if packages import each other in a circle.
    """
    left = dict(arrows)
    floors = []
    while left:
        free = sorted(name for name, others in left.items() if not others & left.keys())
        if not free:
            raise ValueError(f"packages must not import each other in a circle, got one among {sorted(left)}")
        floors.append(free)
        for name in free:
            del left[name]
    return floors


def draw(root: Path, out: Path) -> None:
    """Write the picture of a checkout's packages."""
    lines, arrows = graph_of(root)
    floors = floors_of(arrows)
    rows = [floor[first : first + MOST] for floor in floors for first in range(0, len(floor), MOST)]
    figure = Figure(figsize=(1.45 * MOST, FLOOR * len(rows) + 0.5))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    places = {}
    for height, row in enumerate(rows):
        for number, name in enumerate(row):
            places[name] = ((number + 0.5) * MOST / len(row), height + 0.5)
    for name in sorted(arrows):
        for other in sorted(arrows[name]):  # in an order, so that the picture is the same each time
            (x, y), (low_x, low_y) = places[name], places[other]
            axes.plot([x, low_x], [y - 0.2, low_y + 0.2], color=FAINT, alpha=0.35, linewidth=0.8, zorder=1)
    for name, (x, y) in places.items():
        box = FancyBboxPatch(
            (x - 0.42, y - 0.2), 0.84, 0.4, boxstyle="round,pad=0.02", facecolor=BOX, edgecolor=INK, zorder=2
        )
        axes.add_patch(box)
        size = 9 if len(name) < 18 else 7
        axes.text(x, y + 0.05, name.removeprefix("spl."), ha="center", va="center", size=size, color=INK)
        axes.text(x, y - 0.11, f"{lines[name]:,}", ha="center", va="center", size=8, color=INK)
    num_arrows = sum(map(len, arrows.values()))
    told = f"{len(lines)} packages, {num_arrows} imports between them, {len(floors)} floors; lines in each"
    axes.text(0.1, len(rows) + 0.2, told, size=11, color=INK)
    axes.set(xlim=(0, MOST), ylim=(0, len(rows) + 0.5))
    axes.axis("off")
    figure.savefig(out, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="PNG or SVG file")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="checkout to draw")
    args = parser.parse_args()
    draw(args.root, args.out)


if __name__ == "__main__":
    main()
