"""Arrays as the Parquet columns of LeRobot's datasets, and back; pictures are PNG files in them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHUNK, MOST_MB = 1_000, 100  # files of a folder, and size of each
FILE = "chunk-{:03d}/file-{:03d}.parquet"
AT_ONCE = 512  # frames
INDEX = "__index_level_0__"
OF_TASKS = {  # how pandas reads the table of tasks: the text is its index
    "index_columns": [INDEX],
    "column_indexes": [],
    "columns": [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, field, kind, dtype in (
            ("task_index", "task_index", "int64", "int64"),
            (None, INDEX, "unicode", "object"),
        )
    ],
    "pandas_version": "2.0.0",
}
Feature = dict[str, Any]  # dtype, shape and names, as meta/info.json has them


def as_column(values: NDArray[Any], feature: Feature) -> Any:
    """Return the Arrow array of a feature's values ``(N, *shape)``."""
    import pyarrow as pa

    if feature["dtype"] == "image":
        pictures = [{"bytes": _png(picture), "path": None} for picture in values]
        return pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    shape = tuple(feature["shape"])
    column = pa.array(np.ascontiguousarray(values, feature["dtype"]).ravel())
    for length in reversed(shape if shape != (1,) else ()):
        offsets = np.arange(0, len(column) + 1, length, dtype=np.int32)
        column = pa.ListArray.from_arrays(offsets, column)
    return column


def from_column(column: Any, feature: Feature) -> NDArray[Any]:
    """Return a feature's values ``(N, *shape)``; pictures as ``(N, H, W, C)``.

    Raises:
        ValueError: if the column holds something else.
    """
    if feature["dtype"] == "image":
        pictures = [_picture(one["bytes"]) for one in column.to_pylist()]
        return np.stack(pictures) if pictures else np.zeros((0, *feature["shape"]), np.uint8)
    count = len(column)
    while "list" in str(column.type):
        column = column.flatten()
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"a column must hold numbers and no gaps, got {values.dtype}")
    return values.astype(feature["dtype"]).reshape(count, *feature["shape"])


class Statistics:
    """Least, greatest, mean and deviation of each feature over all frames: what ``meta/stats.json`` has."""

    def __init__(self, features: dict[str, Feature]) -> None:
        self.features = features
        self._parts: dict[str, list[tuple[NDArray[Any], ...]]] = {key: [] for key in features}

    def add(self, frames: dict[str, NDArray[Any]]) -> None:
        """Take in the values ``(N, *shape)`` of each feature; pictures, ``(N, H, W, C)``, from 0 to 1."""
        for key, values in frames.items():
            for start in range(0, len(values), AT_ONCE):
                some = values[start : start + AT_ONCE].astype(np.float64)
                weight = np.array(len(some))
                if self.features[key]["dtype"] == "image":
                    some = some.reshape(-1, some.shape[-1]) / 255
                means = some.mean(axis=0), (some**2).mean(axis=0)
                self._parts[key].append((some.min(axis=0), some.max(axis=0), *means, weight))

    def told(self) -> dict[str, dict[str, Any]]:
        """Return them as JSON holds them; those of pictures are ``(C, 1, 1)``."""
        found: dict[str, dict[str, Any]] = {}
        for key, parts in self._parts.items():
            lowest, highest, means, squares, counts = (np.array(part) for part in zip(*parts, strict=True))
            mean, square = (np.average(part, axis=0, weights=counts) for part in (means, squares))
            deviation = np.sqrt(np.maximum(0.0, square - mean**2))
            numbers = {"min": lowest.min(axis=0), "max": highest.max(axis=0), "mean": mean, "std": deviation}
            if self.features[key]["dtype"] == "image":
                numbers = {name: value[:, None, None] for name, value in numbers.items()}
            found[key] = {name: value.tolist() for name, value in numbers.items()}
            found[key]["count"] = [int(counts.sum())]
        return found


class DataFiles:
    """The data files of a dataset that is written; a new one begins when the newest is large."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = -1  # of the newest
        self._writer: Any = None

    def __enter__(self) -> "DataFiles":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def place(self) -> tuple[int, int]:
        """The newest file's folder, and its number there."""
        return divmod(self.number, CHUNK)

    def write(self, table: Any) -> None:
        """Write an episode's Arrow table."""
        import pyarrow.parquet as pq

        path = self.folder / "data" / FILE.format(*self.place)
        if self._writer is None or path.stat().st_size > MOST_MB << 20:
            self.__exit__()
            self.number += 1
            path = self.folder / "data" / FILE.format(*self.place)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table)


def write_meta(
    folder: Path, info: dict[str, Any], episodes: list[dict[str, Any]], task: str, statistics: Statistics
) -> None:
    """Write the files of ``meta``: episodes, the one task, statistics, and what it is all about."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = folder / "meta"
    path = meta / "episodes" / FILE.format(0, 0)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), path)
    table = pa.table({"task_index": pa.array([0], pa.int64()), INDEX: [task]})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(OF_TASKS)}), meta / "tasks.parquet")
    for name, told in {"stats": statistics.told(), "info": info}.items():
        (meta / f"{name}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def batches_of(folder: Path) -> Iterator[Any]:
    """Yield the rows of all data files in order, some at a time."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("data/*/*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(batch_size=AT_ONCE)


def _png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture ``(H, W, C)`` of 1 or 3 colours as a PNG file, which loses nothing."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def _picture(content: bytes | None) -> NDArray[np.uint8]:
    """Return the picture ``(H, W, C)`` in a PNG file, or one of another format."""
    if content is None:
        raise ValueError("a picture must lie in the data file, got a path: this is not read")
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels
