"""An encoder of the user's own in the place of the two streams: its contract, and the check of it."""

from typing import Any

import torch
from torch import Tensor, nn

from spl.config.errors import UsageError
from spl.config.named_class import Named, class_of, parts_of_named
from spl.models.encoder import EncoderConfig, Features, TwoStreamEncoder, build_encoder
from spl.records import AUDIO, VIDEO, StreamSpec

OPTION = "encoder.custom"


def built(name: str, kwargs: dict[str, Any], option: str, *args: Any, **fixed: Any) -> nn.Module:
    """Return a module of the class that ``module:Class`` names, made of ``args``, ``fixed`` and ``kwargs``.

    Raises:
        UsageError: if there is no such class, or it cannot be made of them.
    """
    found = class_of(name, nn.Module, option)
    try:
        module: nn.Module = found(*args, **fixed, **kwargs)
    except Exception as error:  # an author's constructor may fail in any way; the sentence names it
        raise UsageError(f"{option}={name} could not be made: {type(error).__name__}: {error}") from error
    return module


def check_answer(module: nn.Module, inputs: tuple[Tensor, ...], width: int, named: str, unit: str) -> None:
    """Refuse a module that does not answer a batch of two with ``(2, width)`` finite floats.

    Raises:
        UsageError: saying what it returned instead.
    """
    if any(weight.is_meta for weight in module.parameters()):
        return  # it is counted, not used
    was_training = module.training
    try:
        with torch.no_grad():
            answer = module.eval()(*inputs)
    except Exception as error:
        shapes = ", ".join(f"({', '.join(map(str, part.shape))})" for part in inputs)
        raise UsageError(f"{named} fails on inputs {shapes}: {type(error).__name__}: {error}") from error
    finally:
        module.train(was_training)
    got = f"({', '.join(map(str, answer.shape))})" if isinstance(answer, Tensor) else type(answer).__name__
    if not isinstance(answer, Tensor) or answer.shape != (2, width) or not answer.is_floating_point():
        raise UsageError(f"{named} must return floats (B, {width}), {unit}, and returned {got} for a B of 2")
    if not answer.isfinite().all():
        raise UsageError(f"{named} returns numbers that are not finite for inputs of zeros")


class CustomEncoder(TwoStreamEncoder):
    """An ``nn.Module`` of the user's own, used as the encoder of an agent.

    It is made as ``Class(spec, history=T, **arguments)``, where ``spec.video`` and ``spec.audio`` are the
    shapes ``(C, H, W)`` and ``(C, M, F)`` of a step, with a 0 where the environment lacks the stream; has an
    attribute ``features``, the width ``D`` of its code; and is called as ``module(video, audio, present)``:

    - ``video``: ``(B, T, C, H, W)`` uint8.
    - ``audio``: ``(B, T, C, M, F)`` float16 log-mel levels from 0 to about 1, or int8 samples.
    - ``present``: ``(B, 2)`` bool, whether video and audio are there. What is absent comes as zeros.
    - returns ``(B, D)`` floats. An environment's state vector (``spec.state`` numbers) does not come here:
      what our own layers make of it is added to them, and the sum rectified.

    Thirds call it once for each view, three times in all, since only it knows where its streams meet.
    Saliency maps of layers are not made of it; those that need none are.

    Raises:
        UsageError: if there is no such class, it cannot be made, or it does not keep to this.
    """

    def __init__(self, entry: Named, spec: StreamSpec, *, history: int) -> None:
        nn.Module.__init__(self)
        name, kwargs = parts_of_named(entry, OPTION)
        self.video = self.audio = self.fuse = None
        self.absent = "gate"
        self.module = built(name, kwargs, OPTION, spec, history=history)
        width = getattr(self.module, "features", None)
        if not isinstance(width, int) or width < 1:
            raise UsageError(f"{OPTION}={name} must have a whole number as features, got {width!r}")
        self.features = width
        self.stream_features = (width if spec.has_video else 0, width if spec.has_audio else 0)
        inputs = (
            torch.zeros(2, history, *spec.video, dtype=torch.uint8),
            torch.zeros(2, history, *spec.audio, dtype=getattr(torch, spec.audio_dtype)),
            torch.tensor([[True, True], [True, False]]),
        )
        check_answer(self.module, inputs, width, f"{OPTION}={name}", "its features")

    def ungated(self, video: Tensor, audio: Tensor) -> Features:
        """Return the inputs: there is nothing that every view shares."""
        return video, audio

    def gated(self, features: Features, present: Tensor) -> Features:
        """Return the inputs, zeros where they are absent, so that nothing of them can reach the code."""
        (video, audio), absent = features, ~present[:, :, None, None, None, None]  # (B, 2, 1, 1, 1, 1)
        assert video is not None
        assert audio is not None
        return video.masked_fill(absent[:, VIDEO], 0), audio.masked_fill(absent[:, AUDIO], 0)

    def code(self, streams: Features, present: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the module's ``(B, D)``, or with ``beside`` the rectified sum of the two."""
        code: Tensor = self.module(*streams, present)
        return code if beside is None else torch.relu(code + beside)


def encoder_of(config: EncoderConfig, spec: StreamSpec, *, history: int) -> TwoStreamEncoder:
    """Return the encoder of ``config``, the user's own where it names one.

    Raises:
        ValueError, UsageError: as `build_encoder` and `CustomEncoder`.
    """
    if config.custom is None:
        return build_encoder(config, spec, history=history)
    return CustomEncoder(config.custom, spec, history=history)
