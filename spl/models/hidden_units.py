"""The activations of every dense hidden layer of an autoencoder, seen while it computes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from spl.models.autoencoder import DenseDecoder, TwoStreamAutoencoder
from spl.models.streams import AudioMlp, DenseStream


def hidden_layers(model: TwoStreamAutoencoder) -> dict[str, nn.Linear]:
    """Return the linear layers below and above the joint code, each with a ReLU, by name in order.

    Those of video come first, then those of audio, from the input to the code; then those of both decoders
    from the code on. What convolutions make is not among them: their units stand at every position.
    """
    encoder = model.encoder
    found: dict[str, nn.Linear] = {}
    for name in ("video", "audio"):
        stream = getattr(encoder, name)
        layers = [stream.project]
        if isinstance(stream, DenseStream):
            layers = stream.layers
        elif isinstance(stream, AudioMlp):
            layers = [stream.hidden, stream.project]
        found |= {f"encoder.{name}.{number}": layer for number, layer in enumerate(layers)}
    for name in ("video", "audio"):
        decoder = getattr(model, name)
        layers = (
            list(decoder.hidden) if isinstance(decoder, DenseDecoder) else [decoder.hidden, decoder.expand]
        )
        found |= {f"decoder.{name}.{number}": layer for number, layer in enumerate(layers)}
    return found


@contextmanager
def hidden_units(model: TwoStreamAutoencoder) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that a pass of ``model`` in the ``with`` block fills with ``(B, D)`` of `hidden_layers`.

    The hooks are taken back on every path.
    """
    units: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        units[name] = torch.relu(output)

    with ExitStack() as borrowed:
        for name, layer in hidden_layers(model).items():
            borrowed.callback(layer.register_forward_hook(partial(keep, name)).remove)
        yield units
