"""Layouts of images and sound: which axis of an array means what; conversion to ``(C, H, W)`` and ``(C, N)``.

A layout has a letter for each axis. Picture: ``H`` rows, ``W`` columns, ``C`` colours (of
stacked frames: three for each), ``A`` colours with alpha behind them, ``D`` red, green, blue and a depth,
which is left out, ``S`` stacked frames, the newest last, ``1`` an axis of one. Sound: ``N`` samples, ``C``
channels, ``T`` chunks that lie end to end, ``S`` and ``1`` as before.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SIDE = 8  # pixels; a smaller array is not a picture
MIN_SAMPLES = 64  # a shorter vector is a list of numbers, not a sound
MAX_FRAMES = 16  # a longer axis holds no stacked frames
MAX_CHANNELS = 8  # a longer axis holds no channels of a sound
COLOURS = {"C": (1, 3, "1 or a multiple of 3"), "A": (2, 4, "2 or a multiple of 4"), "D": (4, 2**30, "4")}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class PictureForm:
    """How pictures of one shape are laid out.

    Raises:
        ValueError: if the layout does not fit the shape.
    """

    layout: str
    shape: Shape

    def __post_init__(self) -> None:
        _check_letters(self.layout, self.shape, "HW", "HWCADS1", "video")
        if min(self.rows, self.columns) < MIN_SIDE:
            raise ValueError(
                f"a picture must have at least {MIN_SIDE} rows and columns, got {self.rows} x {self.columns}"
            )
        used = [letter for letter in self.layout if letter in "CAD"]
        if len(used) > 1:
            raise ValueError(f"env.video_layout={self.layout} must name one axis of colours, got {used}")
        for letter in used:
            once, many, told = COLOURS[letter]
            if (size := self._size(letter)) != once and size % many:
                raise ValueError(f"env.video_layout={self.layout}: {letter} must be {told}, got {size}")

    def _size(self, letter: str) -> int:
        return self.shape[self.layout.index(letter)]

    @property
    def rows(self) -> int:
        """``H``."""
        return self._size("H")

    @property
    def columns(self) -> int:
        """``W``."""
        return self._size("W")

    @property
    def has_alpha(self) -> bool:
        """Whether the last of the arranged planes is alpha."""
        return "A" in self.layout

    @property
    def num_channels(self) -> int:
        """``C``: 1 grey, 3 colours; alpha is not counted."""
        if "C" in self.layout:
            return 1 if self._size("C") == 1 else 3
        if "A" in self.layout:
            return 1 if self._size("A") == 2 else 3
        return 3 if "D" in self.layout else 1

    def told(self) -> str:
        """Return what is taken of a picture that is more than one picture, empty for a plain one."""
        words = []
        frames = self._size("S") if "S" in self.layout else 1
        frames *= self._size("C") // 3 if "C" in self.layout and self.num_channels == 3 else 1
        frames *= self._size("A") // 4 if "A" in self.layout and self.num_channels == 3 else 1
        if frames > 1:
            words.append(f"the newest of {frames} frames")
        if "A" in self.layout:
            words.append("alpha laid on black")
        if "D" in self.layout:
            words.append("depth left out")
        return ", ".join(words)

    def arrange(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return ``(C, H, W)`` of a picture of this shape, its alpha as the last plane; a view."""
        index: list[Any] = []
        for letter in self.layout:
            newest = {"C": -self.num_channels, "A": -self.num_channels - 1, "D": 0}.get(letter)
            end = 3 if letter == "D" else None
            whole = slice(newest, end) if letter in "CAD" else slice(None)
            index.append({"S": -1, "1": 0}.get(letter, whole))
        picture = picture[tuple(index)]
        kept = [letter for letter in self.layout if letter not in "S1"]
        channel = next((axis for axis, letter in enumerate(kept) if letter in "CAD"), None)
        picture = picture[None] if channel is None else np.moveaxis(picture, channel, 0)
        return picture if kept.index("H") < kept.index("W") else picture.swapaxes(1, 2)


@dataclass(frozen=True)
class SoundForm:
    """How sounds of one shape are laid out.

    Raises:
        ValueError: if the layout does not fit the shape, or there are too few samples.
    """

    layout: str
    shape: Shape

    def __post_init__(self) -> None:
        _check_letters(self.layout, self.shape, "N", "NCTS1", "audio")
        if self.num_samples < MIN_SAMPLES:
            raise ValueError(f"a sound must have at least {MIN_SAMPLES} samples, got {self.num_samples}")
        if self.num_channels > MAX_CHANNELS:
            raise ValueError(f"a sound must have at most {MAX_CHANNELS} channels, got {self.num_channels}")

    def _size(self, letter: str) -> int:
        return self.shape[self.layout.index(letter)] if letter in self.layout else 1

    @property
    def num_samples(self) -> int:
        """``N``, of all chunks."""
        return self._size("N") * self._size("T")

    @property
    def num_channels(self) -> int:
        """``C``."""
        return self._size("C")

    def told(self) -> str:
        """Return what is made of a sound that is more than one chunk, or of many channels."""
        words = [f"the newest of {self._size('S')} chunks"] if "S" in self.layout else []
        words += [f"{self._size('T')} chunks end to end"] if "T" in self.layout else []
        words += [f"{self.num_channels} channels"] if self.num_channels > 2 else []
        return ", ".join(words)

    def arrange(self, sound: NDArray[Any]) -> NDArray[Any]:
        """Return ``(C, N)`` of a sound of this shape or shorter; a view where no chunks are joined."""
        sound = sound[tuple({"S": -1, "1": 0}.get(letter, slice(None)) for letter in self.layout)]
        kept = [letter for letter in self.layout if letter not in "S1"]
        order = [kept.index(letter) for letter in "CTN" if letter in kept]
        sound = sound.transpose(order)
        return sound.reshape(self.num_channels, sound.size // self.num_channels)


def _check_letters(layout: str, shape: Shape, needed: str, known: str, modality: str) -> None:
    name = f"env.{modality}_layout={layout}"
    if len(layout) != len(shape):
        raise ValueError(f"{name} must have a letter for each of the {len(shape)} axes of {shape}")
    unknown = [letter for letter in layout if letter not in known]
    counts = {letter: layout.count(letter) for letter in known}
    if (
        unknown
        or any(counts[one] != 1 for one in needed)
        or max(counts[one] for one in known if one != "1") > 1
    ):
        raise ValueError(
            f"{name} must hold each of {', '.join(needed)} once, others of {', '.join(known)} at most once "
            "(1 as often as there are axes of one)"
        )
    if any(letter == "1" and size != 1 for letter, size in zip(layout, shape, strict=True)):
        raise ValueError(f"{name}: an axis of {shape} that is called 1 is longer")


def picture_form(shape: Shape, name: str = "") -> PictureForm | None:
    """Return the form of a picture of ``shape``, None where it is none.

    Rows and columns are the two neighbouring axes whose shorter one is longest. ``name`` (its key) decides
    what four planes are: ``rgba``, ``rgbd``; without a word, behind the columns they are colours and alpha,
    before the rows four stacked frames.
    """
    if not 2 <= len(shape) <= 5:
        return None
    best: tuple[int, str] | None = None
    for row in range(len(shape) - 1):
        shorter = min(shape[row : row + 2])
        if shorter >= MIN_SIDE and (best is None or shorter > best[0]):
            letters = _picture_letters(shape, row, name.lower())
            best = best if letters is None else (shorter, letters)
    return None if best is None else PictureForm(best[1], shape)


def _picture_letters(shape: Shape, row: int, name: str) -> str | None:
    """Return the layout with rows on the axis ``row`` and columns on the next, None where none fits."""
    letters = ["1"] * len(shape)
    letters[row : row + 2] = "H", "W"
    others = [axis for axis, size in enumerate(shape) if letters[axis] == "1" and size > 1]
    if len(others) > 2:
        return None
    colours = _colour_axis(shape, row, others, name)
    for axis in others:
        size = shape[axis]
        if axis != colours:
            if size > MAX_FRAMES:
                return None
            letters[axis] = "S"
        elif size == 4:
            letters[axis] = "D" if "rgbd" in name else "A"
        else:
            letters[axis] = "C"
    return "".join(letters)


def _colour_axis(shape: Shape, row: int, others: list[int], name: str) -> int | None:
    """Return which of the other axes holds the colours, None where all are grey."""
    if len(others) == 1:
        (axis,), size = others, shape[others[0]]
        is_colour = size % 3 == 0 and size <= 3 * MAX_FRAMES
        is_four = size == 4 and (axis > row or "rgba" in name or "rgbd" in name)
        return axis if is_colour or is_four else None
    behind = [axis for axis in reversed(others) if axis > row]
    order = behind + [axis for axis in reversed(others) if axis < row]
    return next((axis for size in (3, 4) for axis in order if shape[axis] == size), None)


def sound_form(shape: Shape, name: str = "", *, is_named: bool = True, stack: int = 0) -> SoundForm | None:
    """Return the form of a sound of ``shape``, None where it is none.

    Args:
        shape: of the array.
        name: its key; one with "chunk" in it lays a leading axis end to end.
        is_named: whether its key speaks of a sound: without, more than two channels are not taken for one.
        stack: frames that are stacked in the picture beside it: a leading axis as long is a stack, too.
    """
    if not 1 <= len(shape) <= 4:
        return None
    others = [axis for axis, size in enumerate(shape) if size > 1]
    letters = ["1"] * len(shape)
    if not others or len(others) > 3:
        return None
    if len(others) == 3:  # chunks of several channels
        if not is_named:
            return None
        lead = others.pop(0)
        letters[lead] = "S" if shape[lead] == stack else "T"
    if len(others) == 1:
        letters[others[0]] = "N"
    else:
        first, second = others
        is_first = shape[first] <= shape[second]
        short, long = (first, second) if is_first else (second, first)
        size, may_chunk = shape[short], is_first and "T" not in letters and "S" not in letters
        letters[long], letters[short] = "N", "C"
        if may_chunk and size == stack and size > 1:
            letters[short] = "S"
        elif may_chunk and is_named and ("chunk" in name.lower() or size > MAX_CHANNELS):
            letters[short] = "T"
        elif size > (MAX_CHANNELS if is_named else 2):
            return None
    sizes = {letter: size for letter, size in zip(letters, shape, strict=True) if letter in "NT"}
    return SoundForm("".join(letters), shape) if math.prod(sizes.values()) >= MIN_SAMPLES else None
