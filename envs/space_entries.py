"""The entries of an observation space, at any depth, and which could be video or audio."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.layouts import PictureForm, SoundForm, picture_form, sound_form

AUDIO_NAMES = ("audio", "sound", "waveform", "wave", "mic", "microphone")
SOUND_KINDS = {np.dtype(kind) for kind in ("u1", "i2", "f2", "f4", "f8")}  # of any name
NUM_SAMPLES = "audio_samples"  # in an info: how many samples of the sound are of this step
Modality = Literal["video", "audio"]


@dataclass(frozen=True)
class Leaf:
    """One entry of an observation space, however deep it lies."""

    path: tuple[Any, ...]  # keys and positions that lead to it; empty: the space itself
    space: spaces.Space[Any]

    @property
    def key(self) -> str | None:
        """The path joined by dots, None for the space itself."""
        return ".".join(map(str, self.path)) or None

    @property
    def name(self) -> str:
        """The key, or nothing."""
        return self.key or ""

    def has_word(self, words: set[str]) -> bool:
        """Whether one of the words is in the key."""
        return not words.isdisjoint(re.split("[^a-z]+", self.name.lower()))

    def is_named(self, names: tuple[str, ...]) -> bool:
        """Whether one of the names is in the key."""
        return any(name in self.name.lower() for name in names)

    @property
    def box(self) -> spaces.Box | None:
        """The space as a Box, None where it is not of numbers in a fixed shape."""
        space = self.space
        if isinstance(space, spaces.Sequence):  # of pictures: the newest
            element = space.feature_space
            is_one = isinstance(element, spaces.Box) and picture_form(element.shape) is not None
            return element if is_one else None  # type: ignore[return-value]
        if isinstance(space, spaces.Tuple):
            first = space[0]
            assert isinstance(first, spaces.Box)
            shape = (len(space), *first.shape)
            return spaces.Box(first.low.min(), first.high.max(), shape, first.dtype.type)
        if isinstance(space, spaces.MultiBinary):
            return spaces.Box(0, 1, space.shape, np.int8)
        if isinstance(space, spaces.MultiDiscrete):
            low = space.start
            return spaces.Box(low, low + space.nvec - 1, space.shape, space.dtype.type)
        return space if isinstance(space, spaces.Box) else None

    @property
    def told(self) -> str:
        """Type, shape and dtype."""
        kind = type(self.space).__name__
        if isinstance(self.space, spaces.Sequence):
            return f"{kind} of {Leaf((), self.space.feature_space).told}"
        if isinstance(self.space, spaces.Tuple):
            return f"{kind} of {len(self.space)} {Leaf((), self.space[0]).told}"
        return f"{kind} {self.space.shape} {self.space.dtype}"


@dataclass(frozen=True)
class Stream:
    """One entry that was chosen, and how its arrays are laid out."""

    modality: Modality
    leaf: Leaf
    box: spaces.Box
    form: PictureForm | SoundForm

    @property
    def key(self) -> str | None:
        """Its key, None for the space itself."""
        return self.leaf.key

    @property
    def num_samples(self) -> int:
        """Samples of one observation and channel, of a sound."""
        assert isinstance(self.form, SoundForm)
        return self.form.num_samples

    @property
    def is_ambiguous(self) -> bool:
        """Whether only the values tell what an axis is: stacked frames, colours, alpha or channels."""
        sizes = dict(zip(self.form.layout, self.form.shape, strict=True))
        if self.modality == "audio":
            return self.form.layout.startswith("C") and sizes["C"] > 1
        is_declared = any(word in self.leaf.name.lower() for word in ("rgba", "rgbd"))
        four = (letter in "AS" and size in (2, 4) for letter, size in sizes.items())
        return not is_declared and (any(four) or (self.form.layout.startswith("C") and sizes["C"] > 1))

    def is_of_kind(self, part: NDArray[Any]) -> bool:
        """Whether an array of whole numbers has the type that the space says, if it says one."""
        is_any = isinstance(self.leaf.space, spaces.MultiBinary | spaces.MultiDiscrete)
        return part.dtype.kind in "bui" if is_any else part.dtype == self.box.dtype

    def part(self, raw: Any, info: Mapping[str, Any]) -> NDArray[Any]:
        """Return a copy of this stream in a raw observation.

        Of a sound only as many samples as ``info["audio_samples"]`` says, if it says so.

        Raises:
            ValueError: if it is missing, or that number is none.
        """
        try:
            for step in self.leaf.path:
                raw = raw[step]
            part = np.array(raw[-1] if isinstance(self.leaf.space, spaces.Sequence) else raw)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the {self.modality} is missing in an observation: no {self.key!r}") from error
        if self.modality == "audio" and NUM_SAMPLES in info and self.fits(part):
            return self._cut(part, info[NUM_SAMPLES])
        return part

    def fits(self, part: NDArray[Any]) -> bool:
        """Whether an array has the shape that the space says; a sound may have fewer samples."""
        shape, whole, layout = part.shape, self.box.shape, self.form.layout
        if self.modality == "video" or "T" in layout or len(shape) != len(whole):
            return shape == whole
        axis = layout.index("N")
        others = shape[:axis] + shape[axis + 1 :], whole[:axis] + whole[axis + 1 :]
        return shape[axis] <= whole[axis] and others[0] == others[1]

    def _cut(self, part: NDArray[Any], number: Any) -> NDArray[Any]:
        """Return the first samples of a sound, as many as the environment says."""
        axis = self.form.layout.index("N")
        if not isinstance(number, int | np.integer) or not 0 <= number <= part.shape[axis]:
            raise ValueError(
                f"info['{NUM_SAMPLES}'] must be how many samples of the sound are of this step, a whole "
                f"number in 0..{part.shape[axis]}, got {number!r}"
            )
        if "T" in self.form.layout:
            raise ValueError(f"info['{NUM_SAMPLES}'] is for a sound of one chunk, this one has several")
        return part[(slice(None),) * axis + (slice(int(number)),)]


def is_video(space: spaces.Space[Any]) -> bool:
    """Whether a space has the shape and type of a picture."""
    return form_of(Leaf((), space), "video") is not None


def is_audio(space: spaces.Space[Any]) -> bool:
    """Whether a space has the shape and type of a sound."""
    return form_of(Leaf((), space), "audio") is not None


def form_of(
    leaf: Leaf, modality: Modality, stack: int = 0, layout: str | None = None
) -> PictureForm | SoundForm | None:
    """Return how the entry is laid out as a picture or a sound, None where it can be none.

    A ``layout`` that is given is taken where it fits the shape.
    """
    box = leaf.box
    if layout is not None and box is not None:
        with suppress(ValueError):
            return (PictureForm if modality == "video" else SoundForm)(layout, box.shape)
    if box is None or box.dtype.kind not in "buif":
        return None
    if modality == "video":
        return picture_form(box.shape, leaf.name)
    is_named = leaf.is_named(AUDIO_NAMES) or not leaf.path
    if box.dtype.kind == "b" or isinstance(leaf.space, spaces.Sequence | spaces.MultiBinary):
        return None
    if box.dtype not in SOUND_KINDS and not is_named:
        return None
    is_chunks = isinstance(leaf.space, spaces.Tuple)
    name = f"{leaf.name} chunks" if is_chunks else leaf.name
    form = sound_form(box.shape, name, is_named=is_named or is_chunks, stack=stack)
    if form is None:
        return None
    low, high = float(box.low.min()), float(box.high.max())
    is_level = box.dtype.kind == "f" and not (low == -high and np.isfinite(high))
    if "T" in form.layout and "chunk" not in name.lower() and is_level:
        return None  # a spectrogram rather than many chunks of a waveform
    return form


def leaves_of(space: spaces.Space[Any], path: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """Yield the entries of a space, nested ones too; equal sounds of a Tuple are one sound in chunks."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from leaves_of(inner, (*path, key))
    elif isinstance(space, spaces.Tuple) and not _is_chunks(space):
        for position, inner in enumerate(space):
            yield from leaves_of(inner, (*path, position))
    else:
        yield Leaf(path, space)


def _is_chunks(space: spaces.Tuple[Any]) -> bool:
    first = space[0] if len(space) > 1 else None
    is_sound = isinstance(first, spaces.Box) and len(first.shape) == 1 and is_audio(first)
    return is_sound and all(inner == first for inner in space)
