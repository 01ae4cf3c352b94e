"""The activations of dense hidden layers, of an autoencoder's or of any encoder's, seen while it computes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spl.models.autoencoder import DenseDecoder, TwoStreamAutoencoder
from spl.models.encoder import ACTIVATIONS, TwoStreamEncoder
from spl.models.streams import AudioMlp, DenseStream


def stream_layers(encoder: TwoStreamEncoder) -> dict[str, nn.Linear]:
    """Return the linear layers of an encoder's streams, each with a ReLU, by name in order.

    Those of video come first, then those of audio, from the input to the code. What convolutions make is not
    among them: their units stand at every position.
    """
    found: dict[str, nn.Linear] = {}
    for name in ("video", "audio"):
        stream = getattr(encoder, name)
        if stream is None:
            continue
        layers: list[nn.Linear] = [stream.project]
        if isinstance(stream, DenseStream):
            layers = stream.layers
        elif isinstance(stream, AudioMlp):
            layers = [stream.hidden, stream.project]
        found |= {f"{name}.{number}": layer for number, layer in enumerate(layers)}
    return found


def hidden_layers(model: TwoStreamAutoencoder) -> dict[str, nn.Linear]:
    """Return the linear layers below and above the joint code, each with a ReLU, by name in order.

    Those of the streams, then those of both decoders from the code on.
    """
    found = {f"encoder.{name}": layer for name, layer in stream_layers(model.encoder).items()}
    for name in ("video", "audio"):
        decoder = getattr(model, name)
        layers: list[Any] = (
            list(decoder.hidden) if isinstance(decoder, DenseDecoder) else [decoder.hidden, decoder.expand]
        )
        found |= {f"decoder.{name}.{number}": layer for number, layer in enumerate(layers)}
    return found


@contextmanager
def hidden_units(model: TwoStreamAutoencoder) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that a pass of ``model`` in the ``with`` block fills with ``(B, D)`` of `hidden_layers`.

    The hooks are taken back on every path.
    """
    with _watched(hidden_layers(model), {}) as units:
        yield units


@contextmanager
def encoder_units(encoder: TwoStreamEncoder) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that a pass with a graph fills with ``(B, D)`` of `stream_layers` and the joint ``code``.

    A code that is made of several views in one pass is ``(V B, D)``. The hooks are taken back on every path.
    """
    layers, activations = stream_layers(encoder), {}
    if encoder.fuse is not None:
        layers["code"], activations["code"] = encoder.fuse, ACTIVATIONS[encoder.code_activation]
    with _watched(layers, activations, is_learning=True) as units:
        yield units


@contextmanager
def _watched(
    layers: Mapping[str, nn.Linear],
    activations: Mapping[str, Callable[[Tensor], Tensor]],
    *,
    is_learning: bool = False,
) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that is filled with what each layer makes, by its activation or ReLU, call below call."""
    units: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        if is_learning and not output.requires_grad:
            return
        made = activations.get(name, torch.relu)(output)
        units[name] = torch.cat([units[name], made]) if name in units else made

    with ExitStack() as borrowed:
        for name, layer in layers.items():
            borrowed.callback(layer.register_forward_hook(partial(keep, name)).remove)
        yield units
