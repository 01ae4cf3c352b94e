"""Presets: option files that travel with the package, found by name from any working directory."""

import difflib
from pathlib import Path

ROOT = Path(__file__).parents[1] / "configs"
FOLDERS = {  # of ROOT by command: a preset goes by its bare name in the first, and by folder/name in all
    "spl train agent": ("agent", "smoke"),
    "spl train classifier": ("classifier",),
    "spl pretrain autoencoder": ("pretrain",),
}


def presets_of(command: str) -> dict[str, Path]:
    """Return a command's presets, each by the shortest name that it goes by."""
    first, *others = FOLDERS[command]
    found = {path.stem: path for path in (ROOT / first).glob("*.yaml")}
    found = dict(sorted(found.items()))  # by name: a path's ending would put cifar100-csm before cifar100
    for folder in others:
        found |= {f"{folder}/{path.stem}": path for path in sorted((ROOT / folder).glob("*.yaml"))}
    return found


def find_preset(name: str, command: str) -> Path | None:
    """Return the file of a preset, which may be named with its folder, or None if there is none."""
    return presets_of(command).get(name.removeprefix(f"{FOLDERS[command][0]}/"))


def nearest_presets(name: str, command: str) -> list[str]:
    """Return the names of all presets of a command, those most like ``name`` first."""

    def likeness(known: str) -> float:
        return difflib.SequenceMatcher(None, Path(name).stem.lower(), Path(known).stem).ratio()

    return sorted(presets_of(command), key=likeness, reverse=True)


def headline(path: Path) -> str:
    """Return a preset's first line, which says in a comment what it is for."""
    return path.read_text("utf-8").partition("\n")[0].removeprefix("#").strip()


def print_presets() -> None:
    """Print each preset with what it is for, by command."""
    for command in FOLDERS:
        print(f"{command} --config NAME")
        for name, path in presets_of(command).items():
            print(f"  {name:<12} {headline(path)}")
        print()
    print(f"--config FILE.yaml reads a file of your own; these, to start one from, are in {ROOT.resolve()}")
