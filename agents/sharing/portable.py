"""One decision of an agent as a graph: raw frames and samples in, action and Q-values out.

The preprocessing of `spl.envs.adapter` is in the graph, and history goes in and out. Files are not here.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from spl.agents.dqn import MultimodalDqn
from spl.envs.actions import ActionForm
from spl.envs.adapter import AudioVisualEnv
from spl.envs.preprocessing import GREY, AudioProcessor, VideoProcessor
from spl.media.log_mel import FLOOR_DB, LogMel
from spl.records import AUDIO, VIDEO


class Gathered(nn.Module):
    """Lays an array out as ``arrange`` does: its elements are gathered from where that would take them."""

    places: Tensor

    def __init__(self, arrange: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        numbers = np.arange(np.prod(shape)).reshape(shape)
        self.register_buffer("places", torch.from_numpy(np.ascontiguousarray(arrange(numbers))))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` of the given shape, laid out."""
        return x.flatten()[self.places]


class Picture(nn.Module):
    """`VideoProcessor` as a graph: a raw picture -> ``(C, H, W)`` uint8."""

    rows: Tensor
    columns: Tensor
    grey: Tensor

    def __init__(self, processor: VideoProcessor) -> None:
        super().__init__()
        self.arrange = Gathered(processor.form.arrange, processor.form.shape)
        self.range, self.scale = processor.range, processor.scale
        self.is_bounded = not processor.beyond.is_idle
        self.has_alpha, self.to_grey = processor.form.has_alpha, processor.to_grey
        self.resizes = processor.resizes
        self.is_as_is = processor.is_as_is and not self.resizes and not self.to_grey
        rows, columns = processor.weights
        self.register_buffer("rows", torch.from_numpy(rows))
        self.register_buffer("columns", torch.from_numpy(columns))
        self.register_buffer("grey", torch.from_numpy(GREY))

    def forward(self, picture: Tensor) -> Tensor:
        """Return ``(C, H', W')`` of a picture as the environment shows it."""
        x: Tensor = self.arrange(picture)  # (C, H, W)
        if self.is_as_is:
            return x
        x = x.to(torch.float64)
        if self.is_bounded:
            x = x.clamp(self.range.low, self.range.high)
        x = x - self.range.low
        if self.has_alpha:
            x = x[:-1] * (x[-1:] * (self.scale / 255.0))
        x = x.to(torch.float32)
        if self.to_grey:
            x = (self.grey @ x.flatten(1)).reshape(1, *x.shape[1:])  # (1, H, W)
        if self.resizes:
            x = self.rows @ x @ self.columns  # (C, H', W')
        return (x * self.scale).clamp(0.0, 255.0).round().to(torch.uint8)


class Sound(nn.Module):
    """`AudioProcessor` as a graph: a raw chunk -> ``(C, N)`` float32, at rest at 0.

    Raises:
        ValueError: if where it rests is only known once it is heard.
    """

    def __init__(self, processor: AudioProcessor, shape: tuple[int, ...]) -> None:
        super().__init__()
        if processor.rest is None:
            raise ValueError(
                "the sound's rest level is found in its first chunk, which a graph cannot do: train with "
                "--env.rest_level"
            )
        self.arrange = Gathered(processor.form.arrange, shape)
        self.range, self.is_bounded = processor.range, not processor.beyond.is_idle
        self.rest = processor.rest if processor.swing.is_unsigned else 0.0
        self.full_scale, self.mixes = processor.swing.full_scale, processor.mixes

    def forward(self, sound: Tensor) -> Tensor:
        """Return ``(C, N)`` of a chunk as the environment makes it."""
        wave: Tensor = self.arrange(sound).to(torch.float64)
        if self.is_bounded:
            wave = wave.clamp(self.range.low, self.range.high)
        wave = (wave.to(torch.float32) - self.rest) / self.full_scale
        return wave.mean(dim=0, keepdim=True) if self.mixes else wave[:2]


class Levels(nn.Module):
    """`LogMel` as a graph; the transform of Fourier is a product with its matrix, in double precision."""

    window: Tensor
    index: Tensor
    waves: Tensor
    filters: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        window, index, filters = log_mel.parts
        size = log_mel.window_size
        phase = 2 * np.pi / size * (np.outer(np.arange(size), np.arange(size // 2 + 1)) % size)
        waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)  # (W, 2 bins)
        for name, table in {"window": window, "index": index, "waves": waves, "filters": filters}.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table)))
        self.window_size = size

    def forward(self, context: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Return levels ``(C, M, F)`` of a step ``(C, N)`` after ``context (C, W)``, and the next context."""
        heard = torch.cat([context, wave], dim=1)
        windows = heard[:, self.index] * self.window  # (C, F, W)
        real, imaginary = (windows.double() @ self.waves.double()).chunk(2, dim=2)  # (C, F, bins) each
        power = (real**2 + imaginary**2).to(torch.float32) @ self.filters  # (C, F, M)
        level = 1.0 - 10.0 * torch.log10(power.clamp(min=10.0 ** (FLOOR_DB / 10))) / FLOOR_DB
        return level.clamp(min=0.0).transpose(1, 2), heard[:, -self.window_size :]


class Portable(nn.Module):
    """An agent's decision on raw frames, as a function of tensors alone.

    Inputs, in this order, without those of a stream that the agent lacks:

    - ``image``, ``sound``: the ``frame_skip`` frames since the last decision, oldest first, each as the
      environment returns it; without a frame skip that one frame, without an axis of frames.
    - ``present``: ``(2,)`` bool, whether image and sound are there; what is not is not looked at.
    - ``state``: ``(S,)`` float32, the newest vectors of the environment's state, joined and as they are.
    - ``image_history``, ``sound_history``, ``sound_context``: what the decision before returned; zeros before
      an episode's first. Of a recurrent agent ``recurrent (R,)``, too.

    Outputs: ``action``, as the environment takes it, ``q_values (A,)``, and these for the next decision.

    Raises:
        ValueError: if a stream cannot be cut by a graph.
    """

    there: Tensor

    def __init__(self, agent: MultimodalDqn, adapter: AudioVisualEnv, *, history: int) -> None:
        super().__init__()
        self.network, self.spec, self.history = agent.network, adapter.spec_of_streams, history
        video, audio, log_mel = adapter.processors
        self.picture = None if video is None else Picture(video)
        self.sound = self.levels = None
        self.pools, self.frame_skip = bool(adapter.config.max_pool), adapter.frame_skip
        self.inputs: dict[str, Tensor] = {}  # names -> examples, as before an episode's first decision
        frames = (self.frame_skip,) if self.frame_skip > 1 else ()
        for name, stream in zip(("image", "sound"), adapter.streams[:2], strict=True):
            if stream is not None:
                self.inputs[name] = torch.from_numpy(np.zeros((*frames, *stream.box.shape), stream.box.dtype))
        self.inputs["present"] = torch.ones(2, dtype=torch.bool)
        if self.spec.state:
            self.inputs["state"] = torch.zeros(self.spec.state)
        if video is not None:
            self.inputs["image_history"] = torch.zeros((history, *self.spec.video), dtype=torch.uint8)
        if audio is not None:
            assert adapter.streams.audio is not None
            self.sound = Sound(audio, adapter.streams.audio.box.shape)
            self.kept_dtype = getattr(torch, self.spec.audio_dtype)
            self.inputs["sound_history"] = torch.zeros((history, *self.spec.audio), dtype=self.kept_dtype)
        if log_mel is not None:
            self.levels = Levels(log_mel)
            self.inputs["sound_context"] = torch.zeros(self.spec.audio[0], log_mel.window_size)
        if agent.network.num_remembered:
            self.inputs["recurrent"] = torch.zeros(agent.network.num_remembered)
        states = [name for name in self.inputs if name.endswith(("history", "context", "recurrent"))]
        self.outputs = ["action", "q_values", *(f"next_{name}" for name in states)]
        self.register_buffer("there", torch.tensor([self.spec.has_video, self.spec.has_audio]))
        self.choice = Choice(adapter.actions)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for the inputs, in the order of ``outputs`` and ``inputs``."""
        given = dict(zip(self.inputs, inputs, strict=True))
        present, states = given["present"], list[Tensor]()
        video = torch.zeros((self.history, 0, 0, 0), dtype=torch.uint8)
        audio = torch.zeros((self.history, 0, 0, 0), dtype=torch.float16)
        if self.picture is not None:
            newest = self._seen(given["image"])
            newest = torch.where(present[VIDEO], newest, torch.zeros_like(newest))
            video = torch.cat([given["image_history"][1:], newest[None]])
            states.append(video)
        if self.sound is not None:
            wave, context = self._heard(given["sound"]), given.get("sound_context")
            wave = torch.where(present[AUDIO], wave, torch.zeros_like(wave))  # a product would keep NaN
            heard, context = self._kept(wave, context)
            heard = torch.where(present[AUDIO], heard, torch.zeros_like(heard)).to(self.kept_dtype)
            audio = torch.cat([given["sound_history"][1:], heard[None]])
            states += [audio] if context is None else [audio, context]
        beside = [given[name][None] if name in given else None for name in ("state", "recurrent")]
        seen = video[None], audio[None], (present & self.there)[None]
        values, reached = self.network.step(*seen, *beside)  # (1, A), (1, R)
        states += [] if reached is None else [reached[0]]
        return self.choice(values[0]), values[0], *states

    def _seen(self, image: Tensor) -> Tensor:
        """Return the newest frame cut to shape, of two the brighter where that is how they are pooled."""
        assert self.picture is not None
        if self.frame_skip > 1:
            pair = image[-2:].to(torch.float64)  # runtimes know no maximum of bytes
            image = pair.amax(dim=0).to(image.dtype) if self.pools else image[-1]
        return self.picture(image)  # type: ignore[no-any-return]

    def _heard(self, sound: Tensor) -> Tensor:
        """Return the waveform ``(C, N)`` of all frames."""
        assert self.sound is not None
        chunks = sound.unbind() if self.frame_skip > 1 else (sound,)
        return torch.cat([self.sound(chunk) for chunk in chunks], dim=1)

    def _kept(self, wave: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the sound as it is remembered, still as floats, and what the next step follows."""
        if self.levels is not None:
            return self.levels(context, wave)  # type: ignore[no-any-return]
        wave = wave[:, -self.spec.audio[2] :]
        if self.kept_dtype == torch.int8:
            wave = (128.0 * wave).round().clamp(-128.0, 127.0)
        return wave[:, None], None


class Choice(nn.Module):
    """The best action by its values, as the environment takes it; of several dimensions the best of each.

    Raises:
        ValueError: if the environment takes no array, but a Dict or a Tuple.
    """

    table: Tensor
    starts: Tensor

    def __init__(self, actions: ActionForm) -> None:
        super().__init__()
        if isinstance(actions.space, spaces.Dict | spaces.Tuple):
            raise ValueError(
                f"its actions are a {type(actions.space).__name__}, and a graph returns an array: wrap the "
                "environment so that it takes one"
            )
        self.sizes, self.shape = actions.sizes, actions.space.shape or ()
        table = np.concatenate(actions.values).astype(actions.space.dtype)
        self.register_buffer("table", torch.from_numpy(table))
        self.register_buffer("starts", torch.tensor([0, *accumulate(self.sizes[:-1])]))

    def forward(self, values: Tensor) -> Tensor:
        """Return the action for ``(A,)``; of equal values the first is taken."""
        best = torch.stack([part.argmax() for part in torch.split(values, list(self.sizes))])  # (J,)
        return self.table[self.starts + best].reshape(self.shape)
