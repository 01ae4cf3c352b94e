"""A trained agent as one folder to hand on: weights, configuration, what it saw, and a card.

Nothing in it is pickled or run: a class that it names is imported only where that is asked for.
"""

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spl import __version__
from spl.agents.config import TrainAgentConfig, build_agent
from spl.agents.custom_network import OPTION, own_classes
from spl.agents.dqn import MultimodalDqn
from spl.agents.monitor.fitted import FOLDER as MONITOR
from spl.agents.monitor.fitted import load_usual, save_usual
from spl.agents.names import ActionNames
from spl.config import parse as configuration
from spl.config.errors import UsageError
from spl.config.named_class import parts_of_named
from spl.envs.adapter import AudioVisualEnv
from spl.envs.given import GivenEnv
from spl.envs.registry import is_named
from spl.envs.space_json import space_as_json, space_from_json
from spl.explain.words import NAMES
from spl.runs.checksums import checksum_of
from spl.runs.directory import words_of_run
from spl.runs.files import read_json, replace_text
from spl.runs.state import MISFIT, check_fits
from spl.runs.tensors import write_tensors

FORMAT, VERSION = "spl-bundle", 1
TOLD, CONFIG, WEIGHTS = "agent.json", "config.json", "agent.safetensors"
EVALUATED, DRAWN, FILM = "evaluation.json", "robustness.png", ("agent.mp4", "agent.srt")
OF_RUN = (EVALUATED, DRAWN, *FILM)  # copied where they are there, and of this agent
FILES = (TOLD, CONFIG, WEIGHTS, "README.md", *OF_RUN, f"{MONITOR}/*")  # all that a bundle may hold
DECLARED = {"sample_rate_hz": (int, float), "sound_rest_level": (int, float), "buttons": (list,)}  # in JSON

USE = """```python
import spl

agent = spl.load(".")  # this folder
action = agent.act(observation)
```
"""


class Bundle(NamedTuple):
    """What a bundle's folder holds."""

    agent: MultimodalDqn
    config: TrainAgentConfig
    adapter: AudioVisualEnv  # of an environment without a world
    step: int


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle."""
    return (folder / TOLD).is_file()


def write_bundle(
    run: Path, out: Path, agent: MultimodalDqn, config: TrainAgentConfig, env: AudioVisualEnv, step: int
) -> None:
    """Write the agent of a run as a folder.

    Raises:
        UsageError: if the folder holds something else.
    """
    if out.exists() and not is_bundle(out) and any(out.iterdir()):
        raise UsageError(f"{out} holds something else than a bundle: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    described = env.describe()
    sound = described.get("audio", {})
    told = {
        "format": FORMAT,
        "version": VERSION,
        "spl": __version__,
        "step": step,
        "env": described,
        "observation_space": space_as_json(env.env.observation_space),
        "action_space": space_as_json(env.env.action_space),
        "declared": {
            "sample_rate_hz": sound.get("sample_rate_hz"),
            "sound_rest_level": sound.get("rest_level"),
            "buttons": ActionNames(env).labels,
        },
    }
    config = replace(config, device="auto", num_threads=None, runs=TrainAgentConfig.runs)  # of this machine
    weights = {
        name: weight.detach().cpu().contiguous() for name, weight in agent.network.state_dict().items()
    }
    write_tensors(out / WEIGHTS, weights, {"format": "pt"})
    told["weights_crc32"] = checksum_of(out / WEIGHTS)
    replace_text(out / CONFIG, json.dumps(configuration.to_dict(config), indent=1) + "\n")
    if run.resolve() != out.resolve():
        _take_along(run, out, step)
    replace_text(out / "README.md", card(run, out, config, told))
    replace_text(out / TOLD, json.dumps(told, indent=1) + "\n")


def _take_along(run: Path, out: Path, step: int) -> None:
    """Copy what the run has of its agent at ``step``: evaluation, film, monitor; what ``out`` had goes."""
    for name in OF_RUN:
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / MONITOR, ignore_errors=True)
    copied = {name: name for name in FILM}
    for ending in ("", "-best"):
        told = run / f"evaluation{ending}.json"
        if told.is_file() and read_json(told).get("step") == step:
            copied |= {told.name: EVALUATED, f"robustness{ending}.png": DRAWN}
            break
    for name, copy in copied.items():
        if (run / name).is_file():
            shutil.copy(run / name, out / copy)
    with suppress(UsageError):  # where the run has none, or one of another step
        save_usual(out, load_usual(run, step), step)


def bundled_config(folder: Path) -> TrainAgentConfig:
    """Return the configuration of a bundle's run.

    Raises:
        UsageError: if it is missing or cannot be read.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(f"the bundle {folder} lacks {CONFIG}: fetch or export the bundle again")
    return configuration.parse(TrainAgentConfig, words_of_run(TrainAgentConfig, folder, CONFIG), prog="spl")


def read_bundle(folder: Path, device: torch.device) -> Bundle:
    """Return the agent of a bundle; nothing that it names is imported.

    Raises:
        UsageError: if a file is missing, damaged or of another version.
    """
    told = read_json(folder / TOLD)
    if (told.get("format"), told.get("version")) != (FORMAT, VERSION):
        found = f"{told.get('format')!r} {told.get('version')!r}"
        raise UsageError(f"{folder} must be a bundle of version {VERSION}, got {found}: update spl")
    config = bundled_config(folder)
    if own := [parts_of_named(entry, OPTION)[0] for entry in own_classes(config)]:
        raise UsageError(f"the bundle {folder} names {', '.join(own)}, and nothing of a network is imported")
    try:
        seen, done = (space_from_json(told[name]) for name in ("observation_space", "action_space"))
        adapter = AudioVisualEnv(GivenEnv(seen, done, _declared(told["declared"])), config.env)
        agent = build_agent(config, adapter.spec_of_streams, adapter.action_sizes, device)
        weights = _weights(folder, told.get("weights_crc32"))
        check_fits(weights, agent.network.state_dict(), WEIGHTS)
        acting = dict.fromkeys({"network", "target", "averaged"} & {*agent.state_dict()}, weights)
        state = {**agent.state_dict(), **acting}
        agent.load_state_dict(state)
        return Bundle(agent, config, adapter, int(told["step"]))
    except (OSError, SafetensorError, *MISFIT) as error:
        raise UsageError(f"the bundle {folder} cannot be used: {error}") from error


def _weights(folder: Path, told: str | None) -> dict[str, Tensor]:
    """Return the weights of a bundle; ``told`` is their checksum, None in bundles made before there was one.

    Raises:
        ValueError: if they are not those that were exported, or not finite.
    """
    if told is not None and checksum_of(folder / WEIGHTS) != told:
        raise ValueError(f"{WEIGHTS} is not the file that was exported: fetch or export the bundle again")
    weights = load_file(folder / WEIGHTS)
    if spoilt := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise ValueError(f"{', '.join(spoilt[:3])} in {WEIGHTS} must be finite")
    return weights


def _declared(entry: Any) -> dict[str, Any]:
    """Return what a bundle says that its environment declares of itself.

    Raises:
        ValueError: if that is under another name than ours, or of another kind.
    """
    if not isinstance(entry, dict) or not entry.keys() <= DECLARED.keys():
        raise ValueError(f"declared must hold {', '.join(DECLARED)}, got {entry!r}")
    for name, value in entry.items():
        if value is not None and not isinstance(value, DECLARED[name]):
            raise ValueError(f"{name} of what is declared cannot be {value!r}")
    return entry


def check_trusted(folder: Path, config: TrainAgentConfig) -> None:
    """Refuse to make the environment of a bundle that names classes to import.

    Raises:
        UsageError: naming them.
    """
    if names := sorted({name for name in _strings(configuration.to_dict(config)["env"]) if is_named(name)}):
        raise UsageError(
            f"the bundle {folder} names {', '.join(names)}, which would be imported and run: say that you "
            "trust it with --trust true, or act in an environment of your own with spl.load"
        )


def _strings(tree: Any) -> Iterator[str]:
    """Yield every string in nested options, keys too."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _strings(value)
    elif isinstance(tree, str):
        yield tree


def card(run: Path, out: Path, config: TrainAgentConfig, told: dict[str, Any]) -> str:
    """Return the model card: what it is, how to use it, how robust it is, and how it was made."""
    streams = " and ".join(name for name in NAMES if name in told["env"])
    commands = run / "command.txt"
    text = commands.read_text(encoding="utf-8") if commands.is_file() else ""
    made = [shlex.join(["spl", *words[1:]]) for words in [_first_command(text)] if words]
    lines = [
        "---\nlibrary_name: spl\ntags: [reinforcement-learning, multimodal, audio-visual]\n---",
        f"# {config.env.id}\n",
        f"A deep Q-network that acts on {streams}, trained for {told['step']:,} steps.\n",
        USE,
        *_robustness(out),
        *([f"![What each failure leaves of the return]({DRAWN})\n"] if (out / DRAWN).is_file() else []),
        *(["A film of an episode: [agent.mp4](agent.mp4).\n"] if (out / "agent.mp4").is_file() else []),
        "## How it was made\n",
        *(f"    {line}" for line in made),
        f"\nWith spl {told['spl']}, seed {config.seed}. Every option is in `{CONFIG}`, the weights in "
        f"`{WEIGHTS}`, what the agent sees, hears and does is in `{TOLD}`.\n",
    ]
    return "\n".join(lines)


def _first_command(text: str) -> list[str]:
    """Return the words of the first command of ``command.txt``; a quoted word may hold line ends."""
    lines = text.splitlines()
    for end in range(1, len(lines) + 1):
        with suppress(ValueError):  # a quotation that goes on
            return shlex.split("\n".join(lines[:end]))
    return []


def _robustness(out: Path) -> list[str]:
    """Return the table of a bundle's evaluation, if there is one."""
    path = out / EVALUATED
    if not path.is_file():
        return ["## Robustness\n", "Not evaluated: `spl evaluate agent path/to/this/folder` tells.\n"]
    result = read_json(path)
    rows = ["| Condition | Return (IQM) | 95 % interval | Retained |", "|---|---|---|---|"]
    for name, one in result["conditions"].items():
        low, high = one["interval_95"]
        kept = f"{one['retained']:.0%}" if "retained" in one else "-"
        rows.append(f"| {name} | {one['interquartile_mean']:.2f} | {low:.2f} ... {high:.2f} | {kept} |")
    count = result["episodes"] * len(result["seeds"])
    episodes = f"{count} episode{'s' * (count != 1)}"
    note = f"\n{episodes} a condition, at step {result['step']:,}, exploration {result['epsilon']:g}.\n"
    return ["## Robustness\n", *rows, note]
