"""Weights that a network starts from: torchvision's, an own run's, or a file's; all of them or none."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spl.config.errors import UsageError
from spl.models.image.network_table import LIGHT, NETWORKS
from spl.runs import checkpoint
from spl.runs.files import read_json

DEFAULT = "DEFAULT"  # torchvision's own word for its best weights
OF_TORCHVISION = ("resnet18", "resnet34", "resnet50", *LIGHT)
PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
MOST = 3  # tensors that a sentence names


class Weights(NamedTuple):
    """Tensors by name, and the classes that they tell apart; None where nobody says."""

    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None


def read_weights(source: str, name: str) -> Weights:
    """Return the weights that ``source`` names, for the network ``name``.

    Args:
        source: ``DEFAULT`` for torchvision's, which it fetches unless they are here; the folder of a run of
            ``spl train classifier``, or its ``best`` folder; or a file of tensors as safetensors writes it.
        name: of `NETWORKS`.

    Raises:
        UsageError: if there are none, or they cannot be read or fetched.
    """
    if source == DEFAULT:
        return _of_torchvision(name)
    path = Path(source)
    try:
        if path.is_dir():
            return _of_run(path)
        if path.suffix in PICKLED:
            raise ValueError(
                f"a {path.suffix} file is a pickle, which may run anything; write it once with "
                "safetensors.torch.save_file(state_dict, 'weights.safetensors')"
            )
        return Weights(load_file(path), None)
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UsageError(
            f"model.weights must be {DEFAULT}, the folder of a classifier's run, or a .safetensors file; "
            f"{source} cannot be read: {reason}"
        ) from error


def _of_torchvision(name: str) -> Weights:
    from torchvision.models import get_model_weights

    if name not in OF_TORCHVISION:
        raise UsageError(
            f"torchvision has no weights of {name}, but of {', '.join(OF_TORCHVISION)}: "
            "name the folder of a run or a file in model.weights"
        )
    chosen: Any = get_model_weights(name).DEFAULT
    try:
        return Weights(dict(chosen.get_state_dict(progress=False, check_hash=True)), ("ImageNet",))
    except (OSError, RuntimeError) as error:
        folder, file = Path(torch.hub.get_dir()) / "checkpoints", Path(chosen.url).name
        raise UsageError(
            f"torchvision's weights of {name} are not in {folder} and cannot be fetched ({error}): "
            f"put {file} there, or name the folder of a run or a file in model.weights"
        ) from error


def _of_run(folder: Path) -> Weights:
    """Return the judged weights of a run after its last epoch, or those that a ``best`` folder holds.

    Of a run with restarts those of the one that was kept.
    """
    if any(folder.glob("restart-*/config.yaml")):
        if not (folder / "result.json").exists():
            raise ValueError("its restarts are not all trained: resume it first")
        folder = folder / read_json(folder / "result.json")["restarts"]["kept"]
    saved = folder / "checkpoints"
    state = checkpoint.load(saved if saved.is_dir() else folder)
    if "images" not in state:
        raise ValueError("its checkpoint is of another training than spl train classifier")
    classes = tuple(state["images"]["classes"])
    if "classifier" not in state:
        return Weights(dict(state["model"]), classes)
    averaged = state["classifier"]["averaged"]
    if averaged is None:
        return Weights(dict(state["classifier"]["model"]), classes)
    prefix = "module."  # beside the average, how many were averaged
    return Weights(
        {key.removeprefix(prefix): one for key, one in averaged.items() if key.startswith(prefix)}, classes
    )


def is_attention(key: str) -> bool:
    """Whether a tensor belongs to an attention module, by its name."""
    parts = key.split(".")
    return parts[0] == "head" or any(part in ("attention", "blend") for part in parts)


def start_from(model: nn.Module, name: str, weights: Weights, *, keeps_head: bool) -> str:
    """Load ``weights`` into ``model``, a network ``name``; return in words what is new in it.

    The last layer stays new if it is for other classes, and so does attention that ``weights`` have not.

    Args:
        keeps_head: whether the last layer is taken over, too, where its shape allows.

    Raises:
        ValueError: naming the tensors in which the architecture is another; nothing is loaded then.
    """
    own, given, head = model.state_dict(), weights.tensors, f"{NETWORKS[name].head}."
    body = {key for key in own if not key.startswith(head)}
    absent = body - given.keys()
    may_lack = {key for key in absent if is_attention(key) or key.endswith("num_batches_tracked")}
    missing = sorted(absent - may_lack)
    strange = sorted(key for key in given.keys() - own.keys() if not key.startswith(head))
    other = sorted(
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in body & given.keys()
        if given[key].shape != own[key].shape
    )
    told = [("it has no", missing), ("has", strange), ("has", other)]
    if found := [f"{verb} {_some(keys)}" for verb, keys in told if keys]:
        raise ValueError(f"the weights are not those of this {name}: {'; '.join(found)}; nothing was loaded")
    heads = [key for key in own if key.startswith(head)]
    keeps_head = keeps_head and all(key in given and given[key].shape == own[key].shape for key in heads)
    taken = {key: given[key] for key in own if key in given and (keeps_head or not key.startswith(head))}
    model.load_state_dict({**own, **taken})
    num_new = sum(map(is_attention, absent))
    new = ["the last layer"] * (not keeps_head) + [f"{num_new} tensors of attention"] * (num_new > 0)
    return f"{len(taken)} tensors taken over, new: {', '.join(new) or 'nothing'}"


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST} more" if len(keys) > MOST else ""
    return f"{', '.join(keys[:MOST])}{more}"


def freeze_body(model: nn.Module, name: str) -> None:
    """Let only the last layer of a network ``name`` and its attention modules be trained."""
    head = f"{NETWORKS[name].head}."
    for key, weight in model.named_parameters():
        weight.requires_grad_(key.startswith(head) or is_attention(key))


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch norms of which nothing is trained: their running statistics stay, too."""
    found: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            wanted = [weight.requires_grad for weight in module.parameters()]
            found += [module] if wanted and not any(wanted) else []
    return found
