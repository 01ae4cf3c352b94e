"""``spl explain autoencoder``: where in video and audio its reconstruction errors come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count
from spl.data.audiovisual import NAMES
from spl.eval_mode import borrowed
from spl.explain.overlay import overlaid
from spl.explain.two_streams import AsPictures, as_pictures, check_method
from spl.models.autoencoder import CONDITIONS, Reconstruction, mask
from spl.models.streams import in_units
from spl.plotting.tiles import save
from spl.pretrain.evaluate import HeldOutConfig, source_of
from spl.pretrain.load import read_autoencoder
from spl.runs.files import replace_text, writable
from spl.saliency import METHODS, reconstruction_error
from spl.saliency.layers import Score
from spl.saliency.methods import LAYERLESS
from spl.saliency.shapley import Shapley, shapley_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, CELL = "#24292f", 1.25  # inches
CALLED = {"video": "picture", "audio": "sound"}


@dataclass(frozen=True, kw_only=True)
class ExplainAutoencoderConfig:
    """Which samples a trained autoencoder is asked about, and how."""

    data: HeldOutConfig = field(default_factory=HeldOutConfig)
    num_drawn: Count = 6  # samples to draw, evenly spread over the data
    method: str = "occlusion"  # saliency methods
    score: Literal["error", "fit"] = "error"  # what raises the error, or what lowers it
    modalities: Literal["both", "video", "audio"] = "both"  # modalities that the autoencoder is given
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    out: PathName | None = None  # output folder; null: explanation/ in the run directory

    def __post_init__(self) -> None:
        check_fields(self)
        check_method(self.method)


@dataclass(frozen=True)
class Explained:
    """What is known of the samples, modality by modality of what is reconstructed."""

    given: tuple[Tensor, Tensor]  # video (B, T, C, H, W) and audio (B, T, C, M, F), in their units
    made: Reconstruction
    errors: dict[str, Tensor]  # modality -> (B,) mean squared error
    maps: dict[
        str, tuple[Tensor | None, Tensor | None]
    ]  # modality -> (B, H, W) of video, (B, M, T F) of audio
    shapley: dict[str, Shapley]  # modality -> what showing each modality adds to its error


def explain_autoencoder(folder: Path, config: ExplainAutoencoderConfig) -> dict[str, Any]:
    """Draw where an autoencoder's errors in either modality come from, and write them.

    ``reconstructions.png`` has a row for each sample: the picture, what is made of it, and maps on it for the
    error of the picture and for the error of the sound; the same for the sound. ``explanation.json`` has
    each sample's errors and what each modality adds to them, by exact Shapley values.

    Returns:
        What ``explanation.json`` holds.

    Raises:
        UsageError: if it is no autoencoder's run, data do not fit, the method needs convolutions that it
            lacks, or the folder cannot be written.
    """
    trained = read_autoencoder(folder, config.device)
    source, told = source_of(trained, config.data)
    model = AsPictures(trained.model, trained.signature["history"])
    if config.method not in LAYERLESS and model.layers == (None, None):
        raise UsageError(
            f"{config.method} needs convolutions, which no stream of {folder} has: "
            "choose --method occlusion or integrated-gradients"
        )
    out = writable(Path(config.out) if config.out is not None else folder / "explanation")
    indices = np.linspace(0, len(source) - 1, min(config.num_drawn, len(source))).round().astype(np.int64)
    device = next(trained.model.parameters()).device
    pairs = source.pairs(indices).to(device)
    given = in_units(pairs.video), in_units(pairs.audio)
    inputs = as_pictures(*mask(pairs.video, pairs.audio, pairs.present, config.modalities))
    explained = _explained(model, inputs, given, config)
    present = pairs.present.cpu()
    _draw(explained, present, indices.tolist(), config, out / "reconstructions.png")
    result = {
        "run": str(folder),
        "data": told,
        "method": config.method,
        "score": config.score,
        "shown": config.modalities,
        "samples": indices.tolist(),
        "errors": {
            modality: _errors(explained.errors[modality], explained.shapley[modality], present[:, place])
            for place, modality in enumerate(NAMES)
        },
    }
    replace_text(out / "explanation.json", json.dumps(result, indent=2) + "\n")
    return {**result, "out": str(out)}


def _errors(errors: Tensor, shapley: Shapley, is_there: Tensor) -> dict[str, Any]:
    """Return what ``explanation.json`` holds of the errors ``(B,)`` of one modality.

    None for a sample that does not have the modality, as ``is_there (B,)`` says: there is nothing to report.
    """

    def told(values: Tensor) -> list[float | None]:
        return [value if has else None for value, has in zip(values.tolist(), is_there.tolist(), strict=True)]

    share_of_video, share_of_audio = shapley.each(lambda part: part.cpu()[is_there]).whole_shares()
    return {
        "mean_squared_error": told(errors),
        "added_by_video": told(shapley.video),
        "added_by_audio": told(shapley.audio),
        "share_of_video": share_of_video,
        "share_of_audio": share_of_audio,
    }


def _names(shown: str) -> list[str]:
    return [name for name, is_shown in zip(NAMES, CONDITIONS[shown], strict=True) if is_shown]


def _explained(
    model: AsPictures,
    inputs: tuple[Tensor, ...],
    given: tuple[Tensor, Tensor],
    config: ExplainAutoencoderConfig,
) -> Explained:
    """Return errors, maps and Shapley values of samples ``given`` of which the model sees ``inputs``."""
    with borrowed(model), torch.no_grad():
        made: Reconstruction = model(*inputs)
    errors: dict[str, Tensor] = {}
    maps: dict[str, tuple[Tensor | None, Tensor | None]] = {}
    shapley: dict[str, Shapley] = {}
    for modality, target in zip(NAMES, given, strict=True):
        error = reconstruction_error(target, modality)  # type: ignore[arg-type]
        errors[modality] = error(made)
        score = error if config.score == "error" else _negated(error)
        found = METHODS[config.method](model, model.layers, inputs, score)
        seen, heard = (
            None if one is None or not is_shown else one.cpu()
            for one, is_shown in zip(found, CONDITIONS[config.modalities], strict=True)
        )
        maps[modality] = seen, heard
        shapley[modality] = shapley_values(model, inputs, error)
    return Explained(
        given=(given[0].cpu(), given[1].cpu()),
        made=Reconstruction(*(one.cpu() for one in made)),
        errors=errors,
        maps=maps,
        shapley=shapley,
    )


def _negated(score: Score) -> Score:
    return lambda outputs: -score(outputs)


def _draw(
    explained: Explained,
    present: Tensor,
    samples: Sequence[int],
    config: ExplainAutoencoderConfig,
    path: Path,
) -> None:
    """Write a PNG: a row for each sample, four columns of the picture and four of the sound.

    ``present (B, 2)`` tells which modalities each has.
    """
    num_rows = len(samples)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 * CELL + 0.6, num_rows * (CELL + 0.22) + 1.2), layout="constrained")
    shown = " and ".join(CALLED[name] for name in _names(config.modalities))
    does = "raises the error of\nthe {}" if config.score == "error" else "keeps the error of\nthe {} small"
    title = f"{config.method}; given {shown}"
    figure.suptitle(title, fontsize=10, color=INK)
    halves: Any = figure.subfigures(1, 2)
    for place, (modality, half) in enumerate(zip(NAMES, halves, strict=True)):
        half.suptitle(CALLED[modality], fontsize=10, color=INK)
        grid = half.subplots(num_rows, 4, squeeze=False)
        as_picture = _seen if modality == "video" else _heard
        for row, sample in enumerate(samples):
            is_so, made = (
                as_picture(modalities[place][row]) for modalities in (explained.given, explained.made)
            )
            _show(grid[row, 0], is_so, None, modality)
            _show(grid[row, 1], made, None, modality)
            for column, of in enumerate(NAMES, start=2):
                heats = explained.maps[of][place]
                _show(grid[row, column], is_so, None if heats is None else heats[row], modality, is_map=True)
            told = f"has no {CALLED[modality]}"
            if present[row, place]:
                told = f"error {float(explained.errors[modality][row]):.2g}"
            grid[row, 1].set_xlabel(told, fontsize=7, color=INK)
            if place == 0:
                grid[row, 0].set_ylabel(f"sample {sample}", fontsize=7, color=INK)
        maps = [does.format(CALLED[of]) for of in NAMES]
        for axes, name in zip(grid[0], ["input", "reconstruction", *maps], strict=True):
            axes.set_title(name, fontsize=8, color=INK)
    save(figure, path)


def _show(axes: "Axes", picture: Tensor, heat: Tensor | None, modality: str, *, is_map: bool = False) -> None:
    """Draw a picture ``(1 or 3, H, W)``, in grey or with its map ``(H, W)``; say so if a map is not there."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    form: dict[str, Any] = {"interpolation": "nearest"}
    if modality == "audio":
        axes.set_box_aspect(1)
        form |= {"origin": "lower", "aspect": "auto"}
    if heat is not None:
        axes.imshow(overlaid(picture, heat), **form)
    elif is_map:
        axes.set_box_aspect(1)
        axes.text(0.5, 0.5, "no map", ha="center", va="center", fontsize=8, color=INK)
    else:
        axes.imshow(picture.expand(3, -1, -1).movedim(0, -1).numpy(), **form)


def _seen(video: Tensor) -> Tensor:
    """Return the newest step of ``video (T, C, H, W)`` in 0..1 as bytes ``(1 or 3, H, W)``."""
    newest = video[-1] if video.shape[1] == 3 else video[-1, :1]
    return (255 * newest.clamp(0, 1)).to(torch.uint8)


def _heard(audio: Tensor) -> Tensor:
    """Return all steps of ``audio (T, C, M, F)`` end to end as bytes ``(1, M, T F)``, full scale white."""
    strip = audio.float().mean(dim=1).permute(1, 0, 2).flatten(1)  # (M, T F)
    return (255 * strip.abs().clamp(0, 1)).to(torch.uint8)[None]


def print_explanation(result: dict[str, Any]) -> None:
    """Print the errors, what each modality adds to them, and where everything is written."""
    for modality, told in result["errors"].items():
        has = [error is not None for error in told["mean_squared_error"]]
        if not any(has):
            print(f"error of {modality}   none: no sample has a {CALLED[modality]}")
            continue
        mean = float(np.compress(has, told["mean_squared_error"]).mean())
        adds = {of: float(np.compress(has, told[f"added_by_{of}"]).mean()) for of in NAMES}
        print(
            f"error of {modality}   {mean:.5f} over {sum(has)} samples; "
            f"video adds {adds['video']:+z.5f} to it, audio {adds['audio']:+z.5f} (Shapley values)"
        )
    print(f"written to       {result['out']}")
