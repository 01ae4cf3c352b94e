"""Attention maps as one figure: what `attention_maps` collected, in a PNG file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spl.attention.maps import placed, places_of
from spl.plotting.tiles import save
from spl.receptive_fields.placement import Placement, even, laid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, BAR = "#24292f", "#6e7781", "#2f6db3"
CELL_INCHES = 1.6
BARS_HEIGHT = 0.3  # cells


@dataclass
class Column:
    """What one module does: where it looks ``(B, H, W)``, how much of each channel it keeps ``(B, C)``."""

    name: str
    places: Tensor | None
    gates: Tensor | None
    placement: Placement | None = None  # of the places on the images; None: an even spread

    @property
    def title(self) -> str:
        """The name of the module, without what all of them share."""
        return re.sub(r"(^|\.)attention(_behind)?(?=\.|$)", "", self.name)


def draw_attention(
    maps: Mapping[str, Tensor],
    path: Path | str,
    *,
    images: Tensor | None = None,
    model: nn.Module | None = None,
    num_images: int = 4,
) -> None:
    """Write a PNG file with a row for each image and a column for each module of ``maps``.

    - Gates of positions ``(B, 1, H, W)`` lie as heat over the image, from the least (dark) to the most
      (bright) of each map, reported below it. A map that varies by less than 5 % looks nearly even.
    - Position attention ``(B, N, N)`` shows how much each position is attended, in multiples of an equal
      share: the sum of its row ``M_s[i, :]`` over the queries. So does criss-cross, ``(B, H, W, H + W)``.
    - Gates of channels ``(B, C, 1, 1)`` are bars from 0 to 1, the largest first.

    Of modules whose names differ by the number of their block alone (``layer1.0``, ``layer1.1``), the last
    is drawn; give fewer ``maps`` to choose others.

    Args:
        maps: what `attention_maps` yields.
        path: of the file.
        images: ``(B, 1 or 3, H, W)`` of any range: each is stretched from its least to its most.
        model: that made the maps of such images: each map then lies where the features have their
            receptive fields. Without it positions are spread evenly.
        num_images: rows at most, from the first on.

    Raises:
        ValueError: if there is no map, if a map has another shape or a value that is not finite, or if
            ``images`` do not fit.
    """
    if not maps:
        raise ValueError("maps is empty: run the model inside `with attention_maps(model) as maps:` first")
    batch = {len(one) for one in maps.values()} | ({len(images)} if images is not None else set())
    if len(batch) > 1 or 0 in batch:
        raise ValueError(f"maps and images must be of one batch of at least one, got sizes {sorted(batch)}")
    if images is not None and (images.ndim != 4 or images.shape[1] not in (1, 3)):
        raise ValueError(f"images must have shape (B, 1 or 3, H, W), got {tuple(images.shape)}")
    if model is not None and images is None:
        raise ValueError("model serves to lay maps over images, got none: pass images, too")
    if num_images < 1:
        raise ValueError(f"num_images must be at least 1, got {num_images}")
    if images is not None and not images.isfinite().all():
        raise ValueError("images has values that are NaN or infinite")
    columns = _columns(_last_of_each_stage(maps), images, model)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(_figure(columns, images, min(num_images, *batch)), Path(path), dpi=160)


def _last_of_each_stage(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the last map of those whose names differ by the number of their block alone."""
    last = {}
    for name in maps:
        block, attention, inside = name.partition(".attention")
        last[re.sub(r"\.\d+(?!.*\.\d+(\.|$))(?=\.|$)", ".*", block) + attention + inside] = name
    return {name: maps[name] for name in last.values()}


def _columns(maps: Mapping[str, Tensor], images: Tensor | None, model: nn.Module | None) -> list[Column]:
    """Return the maps by module: its channels and its positions stand in one column.

    Several maps of positions in one module, as HAM has them, have the last part of their names in addition.
    """
    aspect = 1.0 if images is None else _aspect(images)
    modules: dict[str, tuple[dict[str, Tensor], list[Tensor]]] = {}
    placements: dict[str, Placement] = {}
    for name, one in maps.items():
        places, gates = modules.setdefault(re.sub(r"(^|\.)(channel|spatial)(\..*)?$", "", name), ({}, []))
        one = one.detach().float().cpu()
        if not one.isfinite().all():
            raise ValueError(f"map {name!r} has values that are NaN or infinite; nothing can be drawn of it")
        if one.ndim == 4 and one.shape[2:] == (1, 1) and one.shape[1] > 1:
            gates.append(one[:, :, 0, 0])  # (B, C)
        elif model is not None and images is not None and (found := _placed(model, name, one, images)):
            places[name], placements[name] = found
        elif (looked := places_of(one, aspect)) is not None:
            places[name] = looked  # (B, H, W)
        else:
            raise ValueError(
                f"map {name!r} must have shape (B, C, 1, 1), (B, 1, H, W), (B, H W, H W) or "
                f"(B, H, W, H + W), got {tuple(one.shape)}"
            )
    columns = []
    for name, (places, gates) in modules.items():
        for made, other in zip_longest(places, gates):
            last = f".{made.rpartition('.')[2]}" if made is not None and len(places) > 1 else ""
            looked, placement = (None, None) if made is None else (places[made], placements.get(made))
            columns.append(Column((name + last).lstrip("."), looked, other, placement))
    return columns


def _placed(model: nn.Module, name: str, one: Tensor, images: Tensor) -> tuple[Tensor, Placement] | None:
    weight = next(model.parameters(), images)
    return placed(model, name, one, [images[:1].to(weight.device, weight.dtype)])


def _aspect(images: Tensor) -> float:
    """Return height / width."""
    return images.shape[2] / images.shape[3]


@dataclass(frozen=True)
class Page:
    """Where each picture stands; lengths in cells, as wide as one picture."""

    num_rows: int
    num_columns: int
    upper: float  # height of a row's pictures
    lower: float  # height of the bars below them; 0 if there are none

    @property
    def row_height(self) -> float:
        """Pictures, bars, and the words below both."""
        return self.upper + 0.14 + (self.lower + 0.2 if self.lower else 0)

    def figure(self) -> "Figure":
        """Return an empty figure of the right size."""
        width, height = 0.27 + 1.1 * self.num_columns, 0.25 + self.row_height * self.num_rows
        from matplotlib.figure import Figure

        return Figure(figsize=(width * CELL_INCHES, height * CELL_INCHES))

    def axes(self, figure: "Figure", row: int, column: int, *, is_lower: bool = False) -> "Axes":
        """Return new axes in ``figure``."""
        width, height = figure.get_size_inches() / CELL_INCHES
        bottom = 0.25 + self.row_height * row + self.upper + (0.14 + self.lower if is_lower else 0)
        tall = self.lower if is_lower else self.upper
        left = 0.22 + 1.1 * column
        return figure.add_axes((left / width, 1 - bottom / height, 1 / width, tall / height))


def _figure(columns: list[Column], images: Tensor | None, num_rows: int) -> "Figure":
    """Return the images in the first column and a module in each other one, channels below positions."""
    has_pictures = images is not None or any(column.places is not None for column in columns)
    has_both = any(column.places is not None and column.gates is not None for column in columns)
    page = Page(
        num_rows=num_rows,
        num_columns=len(columns) + (images is not None),
        upper=BARS_HEIGHT if not has_pictures else 1.0 if images is None else _aspect(images),
        lower=BARS_HEIGHT if has_both else 0,
    )
    figure = page.figure()
    for row in range(num_rows):
        _draw_row(figure, page, row, columns, None if images is None else images[row])
    return figure


def _draw_row(figure: "Figure", page: Page, row: int, columns: list[Column], image: Tensor | None) -> None:
    """Draw one image and what each module makes of it; the first row has titles."""
    first = 0 if image is None else 1
    tops = []
    if image is not None:
        image = _stretched(image.detach().float().cpu())
        tops.append(("image", _bare(page.axes(figure, row, 0))))
        tops[0][1].imshow(image.movedim(0, -1).numpy())
    for number, column in enumerate(columns, start=first):
        drawn = []
        if column.places is not None:
            drawn.append(_bare(page.axes(figure, row, number)))
            _draw_places(drawn[0], column.places[row], image, column.placement)
        if column.gates is not None:
            drawn.append(page.axes(figure, row, number, is_lower=page.lower > 0))
            _draw_gates(drawn[-1], column.gates[row], is_labelled=number == first)
        tops.append((column.title, drawn[0]))
    for title, axes in tops if row == 0 else []:
        axes.set_title(title, fontsize=8, color=INK)


def _stretched(image: Tensor) -> Tensor:
    """Return ``(3, H, W)`` from 0 to 1 of ``(1 or 3, H, W)``."""
    least, most = image.amin(), image.amax()
    return ((image - least) / (most - least).clamp(min=1e-12)).expand(3, -1, -1)


def _bare(axes: "Axes") -> "Axes":
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _draw_places(axes: "Axes", places: Tensor, image: Tensor | None, placement: Placement | None) -> None:
    """Draw ``(H, W)`` as heat over the image ``(3, H, W)``; its least and its most below."""
    least, most = places.amin(), places.amax()
    middle, spread = (most + least) / 2, torch.maximum(most - least, 0.05 * most.abs()).clamp(min=1e-12)
    heat = 0.5 + (places - middle) / spread
    if image is not None:
        size = (image.shape[1], image.shape[2])
        heat = laid(heat[None], even(heat.shape, size) if placement is None else placement, size)[0]
        light = 0.4 + 0.6 * image.mean(dim=0)  # the image shows as brightness, attention as colour
    else:
        light = torch.ones_like(heat)
    from matplotlib import colormaps

    colours = torch.from_numpy(colormaps["inferno"](heat.numpy())[..., :3])
    axes.imshow((colours * light[..., None]).numpy(), interpolation="nearest")
    axes.set_xlabel(f"{least:.2f} to {most:.2f}", fontsize=6.5, color=FAINT, labelpad=2)


def _draw_gates(axes: "Axes", gates: Tensor, *, is_labelled: bool) -> None:
    """Draw ``(C,)`` as bars without gaps, the largest first."""
    gates = gates.sort(descending=True).values
    axes.stairs(gates.numpy(), fill=True, color=BAR)
    axes.set(xlim=(0, len(gates)), ylim=(0, max(1.0, float(gates[0]))), xticks=[])
    axes.set_yticks([0, 0.5, 1], ["0", "", "1"] if is_labelled else [])
    axes.tick_params(labelsize=6.5, length=2, colors=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.set_xlabel(f"{len(gates):,} channels", fontsize=6.5, color=FAINT, labelpad=2)
