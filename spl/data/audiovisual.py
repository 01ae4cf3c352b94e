"""Audio-visual pairs: the interface of every source, and any Python dataset as a source.

Files, recordings and how a model learns from pairs are described elsewhere.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.media.log_mel import FLOOR_DB
from spl.records import AUDIO, StreamSpec

NAMES = ("video", "audio")  # in the order of ``present``
DTYPES = (("uint8",), ("float16", "int8"))


class Pairs(NamedTuple):
    """``B`` samples of two modalities, each the newest ``T`` steps, as an encoder takes them."""

    video: Tensor  # (B, T, C, H, W) uint8, oldest first, zeros before the beginning and where absent
    audio: Tensor  # (B, T, C, M, F) float16 log-mel levels, or an int8 or float16 waveform (M = 1), likewise
    present: Tensor  # (B, 2) bool: which modality the sample has
    labels: Tensor  # (B,) int64, positions in the source's classes; 0 where there are none
    indices: Tensor  # (B,) int64, which samples of the source they are

    def to(self, device: torch.device) -> "Pairs":
        """Return the pairs on ``device`` (themselves when they are there already)."""
        return Pairs(*(field.to(device) for field in self))


class PairSource(Protocol):
    """Samples by index, read when they are asked for and never loaded whole."""

    @property
    def spec(self) -> StreamSpec:
        """Shapes of one step."""

    @property
    def history(self) -> int:
        """``T``, steps in a sample."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels; empty where there are none."""

    @property
    def signature(self) -> dict[str, Any]:
        """What an encoder of these pairs depends on, as JSON holds it (see `signature_of`)."""

    def __len__(self) -> int: ...

    def summary(self) -> str:
        """Return what there is, and what was left out and why, one sentence per line."""

    def described(self) -> dict[str, Any]:
        """Return what these data are and what was left out, as JSON holds it; ``files``: each by name."""

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample, ``(N,)``."""

    def pairs(self, indices: NDArray[np.int64]) -> Pairs:
        """Return the samples ``indices (B,)``."""


def describe_samples(source: PairSource) -> str:
    """Return how many samples a source has, in how many classes."""
    classes = f"{len(source.classes)} classes" if source.classes else "no classes"
    return f"{len(source):,} samples of {source.history} steps, {classes}"


def signature_of(
    spec: StreamSpec,
    *,
    history: int,
    sample_rate_hz: int | None = None,
    step_s: float | None = None,
    window_samples: int | None = None,
) -> dict[str, Any]:
    """Return what an encoder depends on as JSON holds it; a number that is not known is None.

    Args:
        spec: shapes of one step.
        history: ``T``, steps in a sample.
        sample_rate_hz: of the sound.
        step_s: seconds from one step to the next.
        window_samples: of the log-mel's Fourier transform; a waveform has none.
    """
    is_waveform = spec.audio[1] == 1
    return {
        "video": list(spec.video),
        "audio": list(spec.audio),
        "audio_dtype": spec.audio_dtype,
        "history": history,
        "sample_rate_hz": sample_rate_hz,
        "step_s": step_s,
        "num_mels": None if is_waveform else spec.audio[1],
        "window_samples": None if is_waveform else window_samples,
        "level_range_db": None if is_waveform else [FLOOR_DB, 0.0],
    }


class DatasetPairs:
    """Any Python dataset whose samples are ``(video, audio, label)``, as a source of pairs.

    A sample's video is ``(T, C, H, W)`` or ``(C, H, W)`` uint8, its audio ``(T, C, M, F)`` or ``(C, M, F)``
    floats or int8, its label a whole number; a modality that is None is absent. Shapes are those of the first
    sample that has the modality. Labels are the dataset's ``targets`` where it has them; else all samples
    are read the first time that `labels` is called.

    Args:
        dataset: has ``len()`` and ``[index]``, as a list or a map-style dataset of torch has.
        classes: names of the labels.
        audio_settings: ``sample_rate_hz``, ``step_s`` and ``window_samples`` of the signature, where known.

    Raises:
        ValueError: if the dataset is empty, a sample has another shape or type than the first, or a label is
            not in ``0..len(classes) - 1``.
    """

    def __init__(
        self, dataset: Any, *, classes: Sequence[str] = (), audio_settings: dict[str, Any] | None = None
    ) -> None:
        if len(dataset) == 0:
            raise ValueError("the dataset must have at least one sample, got none")
        self.dataset, self.classes = dataset, tuple(classes)
        first: list[NDArray[Any] | None] = [None, None]  # of each modality
        for index in range(len(dataset)):
            modalities, _ = self._sample(index)
            first = [new if old is None else old for old, new in zip(first, modalities, strict=True)]
            if not any(part is None for part in first):
                break
        lengths = {len(part) for part in first if part is not None}
        if len(lengths) != 1:
            raise ValueError(
                "video and audio must have equally many steps, and one of them must be there, got "
                f"{' and '.join('none' if part is None else str(len(part)) for part in first)}"
            )
        self.history = lengths.pop()
        nothing = (np.zeros((self.history, 0, 0, 0), kind) for kind in (np.uint8, np.float16))
        kinds = [none if part is None else part for part, none in zip(first, nothing, strict=True)]
        self._shapes, self._dtypes = [part.shape for part in kinds], [part.dtype for part in kinds]
        seen, heard = (shape[1:] for shape in self._shapes)
        self.spec = StreamSpec(seen, heard, "int8" if self._dtypes[AUDIO] == np.int8 else "float16")
        self.signature = signature_of(self.spec, history=self.history, **(audio_settings or {}))
        self._labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def described(self) -> dict[str, Any]:
        """Return how many samples there are."""
        return {"kind": "dataset", "samples": len(self), "left_out": [], "files": {}}

    def summary(self) -> str:
        """Return how many samples there are."""
        return describe_samples(self)

    def labels(self) -> NDArray[np.int64]:
        """Return the label of every sample, ``(N,)``."""
        if self._labels is None:
            targets = getattr(self.dataset, "targets", None)
            if targets is None:
                targets = [self._sample(index)[1] for index in range(len(self))]
            self._labels = np.array([self._checked(label) for label in targets], np.int64)
        return self._labels

    def pairs(self, indices: NDArray[np.int64]) -> Pairs:
        """Return the samples ``indices (B,)``."""
        streams = [
            np.zeros((len(indices), *shape), dtype)
            for shape, dtype in zip(self._shapes, self._dtypes, strict=True)
        ]
        present = np.zeros((len(indices), 2), np.bool_)
        labels = np.zeros(len(indices), np.int64)
        for place, index in enumerate(indices.tolist()):
            modalities, label = self._sample(index)
            labels[place] = self._checked(label)
            for modality, part in enumerate(modalities):
                if part is None:
                    continue
                if part.shape != self._shapes[modality] or part.dtype != self._dtypes[modality]:
                    raise ValueError(
                        f"sample {index}: {NAMES[modality]} must be {self._dtypes[modality]} of shape "
                        f"{self._shapes[modality]} as in the first, got {part.dtype} of shape {part.shape}"
                    )
                streams[modality][place], present[place, modality] = part, True
        arrays = (*streams, present, labels, np.asarray(indices, np.int64))
        return Pairs(*(torch.from_numpy(array) for array in arrays))

    def _sample(self, index: int) -> tuple[list[NDArray[Any] | None], Any]:
        """Return video and audio of a sample with the axis of steps, None where absent, and its label."""
        *modalities, label = self.dataset[index]
        if len(modalities) != 2:
            raise ValueError(
                f"sample {index} must be (video, audio, label), got {len(modalities) + 1} values"
            )
        arrays: list[NDArray[Any] | None] = []
        for modality, part in enumerate(modalities):
            array = None if part is None else np.asarray(part)
            if array is not None:
                if modality == AUDIO and array.dtype.kind == "f":
                    array = array.astype(np.float16)
                if array.ndim not in (3, 4) or array.dtype not in DTYPES[modality]:
                    raise ValueError(
                        f"sample {index}: {NAMES[modality]} must be {' or '.join(DTYPES[modality])} of 3 "
                        f"axes, or 4 with the steps first, got {array.dtype} of shape {array.shape}"
                    )
                array = array if array.ndim == 4 else array[None]
            arrays.append(array)
        return arrays, label

    def _checked(self, label: Any) -> int:
        number = 0 if label is None else int(label)
        if self.classes and not 0 <= number < len(self.classes):
            raise ValueError(f"a label must be in 0..{len(self.classes) - 1}, got {number}")
        return number


def read_ahead(
    source: PairSource, order: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[tuple[Pairs, NDArray[np.int64]]]:
    """Yield the pairs of every update with their conditions; a thread reads the next while one is learned."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for indices, conditions in order:
            coming = pool.submit(source.pairs, indices), conditions
            if waiting is not None:
                yield waiting[0].result(), waiting[1]
            waiting = coming
        if waiting is not None:
            yield waiting[0].result(), waiting[1]
