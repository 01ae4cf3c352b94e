"""``spl export agent``: a trained agent as one file that plays without us, or as a folder to hand on."""

import io
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from gymnasium import spaces

from spl import __version__
from spl.agents.bundle import is_bundle, read_bundle, write_bundle
from spl.agents.config import TrainAgentConfig, kept_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.hub import local_folder
from spl.agents.load import Which, check_which, load_agent
from spl.agents.names import ActionNames
from spl.agents.sharing.portable import Portable
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.envs.adapter import AudioVisualEnv
from spl.envs.wrapping import describe_wrappers
from spl.packages import require
from spl.runs.files import replace_bytes, writable

FORMAT, VERSION = "spl-player", 1
Target = Literal["onnx", "pt2", "bundle"]
NEEDED = ("onnx", "onnxscript")  # of the extra onnx


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an agent is exported to, and where."""

    to: Target = "onnx"  # onnx: for ONNX Runtime; pt2: for torch.export.load; bundle: a folder to share
    out: PathName | None = None  # file or folder; null: agent.onnx, agent.pt2 or bundle in the run directory
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training

    def __post_init__(self) -> None:
        check_fields(self)


def export_agent(run: str | Path, config: ExportConfig | None = None, **options: Any) -> Path:
    """Write a run's agent as a graph from raw frames and samples to action and Q-values, or as a bundle.

    Args:
        run: run directory of ``spl train agent``, or a bundle.
        config: how; None: as it is by default.
        options: fields of `ExportConfig` that are to be others, such as ``to="pt2"``.

    Returns:
        What was written. A graph's inputs and outputs are those of `Portable`; its metadata is what
        :func:`described` returns (ONNX: ``spl`` of ``metadata_props``; pt2: ``spl.json`` of the extra files).

    Raises:
        UsageError: if it is no agent's run, has no such checkpoint, a package is missing, its preprocessing
            is none for a graph, or the file cannot be written.
    """
    run = local_folder(run)
    config = replace(config or ExportConfig(), **options)
    if config.to == "onnx":
        for package in NEEDED:
            require(package, f"--to onnx needs {package}")
    agent, env, chosen, step = _opened(run, config.checkpoint)
    name = "bundle" if config.to == "bundle" else f"agent.{config.to}"
    path = run / name if config.out is None else Path(config.out)
    try:
        writable(path.parent)
        if config.to == "bundle":
            write_bundle(run, path, agent, chosen, env, step)
        else:
            portable = Portable(agent, env, history=chosen.memory.history).eval()
            graph_of = {"onnx": _as_onnx, "pt2": _as_pt2}[config.to]
            with torch.no_grad():
                graph = graph_of(portable, described(env, portable, step))
            replace_bytes(path, graph)
    except ValueError as error:
        raise UsageError(f"{run} cannot be exported: {error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        env.close()
    return path


def _opened(run: Path, which: Which) -> tuple[MultimodalDqn, AudioVisualEnv, TrainAgentConfig, int]:
    """Return the agent of a run or a bundle, its environment's adapter, its configuration and its step."""
    if is_bundle(run):
        check_which(run, which)
        bundle = read_bundle(run, torch.device("cpu"))
        return bundle.agent, bundle.adapter, bundle.config, bundle.step
    agent, make, _, step = load_agent(run, "cpu", which)
    return agent, make(), kept_run(run)[1], step


def described(env: AudioVisualEnv, portable: Portable, step: int) -> dict[str, Any]:
    """Return what a player must know of an exported agent, as JSON holds it."""
    streams, actions = env.describe(), env.actions.space
    seen: spaces.Space[Any] = env.env.observation_space
    sound = streams.get("audio", {})
    return {
        "format": FORMAT,
        "version": VERSION,
        "spl": __version__,
        "step": step,
        "env": env.config.id,
        "env_kwargs": env.config.kwargs,
        "env_wrappers": describe_wrappers(env.config),
        "env_render": env.config.render,
        "frame_skip": env.frame_skip,
        "actions": ActionNames(env).labels,
        "start": int(actions.start) if isinstance(actions, spaces.Discrete) else None,  # the first's number
        "image": streams.get("video", {}).get("key"),
        "sound": sound.get("key"),
        "sample_rate_hz": sound.get("sample_rate_hz"),
        "rest_level": sound.get("rest_level"),
        **({"state": streams["state"]["keys"]} if "state" in streams else {}),
        "paths": _paths(env),
        "keys": list(seen) if isinstance(seen, spaces.Dict) else None,
        "states": [name for name in portable.inputs if f"next_{name}" in portable.outputs],
    }


def _paths(env: AudioVisualEnv) -> dict[str, list[Any]]:
    """Return the keys and places that lead to each stream, and to each vector of the state."""
    found: dict[str, list[Any]] = {}
    for name, stream in (("image", env.streams.video), ("sound", env.streams.audio)):
        if stream is not None:
            is_growing = isinstance(stream.leaf.space, spaces.Sequence)
            found[name] = [*stream.leaf.path, *([-1] if is_growing else [])]  # of several the newest
    if env.streams.state:
        found["state"] = [list(leaf.path) for leaf in env.streams.state]
    return found


def _as_onnx(portable: Portable, told: dict[str, Any]) -> bytes:
    import onnx

    program = torch.onnx.export(
        portable,
        tuple(portable.inputs.values()),
        input_names=list(portable.inputs),
        output_names=portable.outputs,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"spl": json.dumps(told)})
    content: bytes = model.SerializeToString()
    return content


def _as_pt2(portable: Portable, told: dict[str, Any]) -> bytes:
    program, content = torch.export.export(portable, tuple(portable.inputs.values())), io.BytesIO()
    with warnings.catch_warnings():  # of weights that share storage, which matters where they are on no CPU
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, content, extra_files={"spl.json": json.dumps(told)})
    return content.getvalue()
