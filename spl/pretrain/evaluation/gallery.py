"""Reconstructions of a few fixed samples, to look at and listen to."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spl.data.audiovisual import NAMES, Pairs, PairSource
from spl.media.griffin_lim import waveform_of, write_wave
from spl.models.autoencoder import CONDITIONS, TwoStreamAutoencoder, mask
from spl.models.streams import in_units
from spl.plotting.tiles import EDGE, as_picture, as_spectrogram, mosaic, save

SOUND_S = 3.0  # how much of the middle of the data is listened to
ROW = 1.1  # inches
BATCH = 32


class Gallery:
    """Draws fixed samples at the end of an epoch, and writes a stretch of sound as it is told from the video.

    ``epoch-0003.png`` has a row for each sample and two panels, for the newest picture and for the sound of
    all steps, each with the original and the reconstructions from both modalities, from video and from audio.
    ``epoch-0003-from-video.wav`` is to be compared with ``original.wav``: both went through log-mel and back,
    and both lack the steps that a stride of videos leaves out.

    Args:
        source: of the samples, which are evenly spread over it; the sound is of its middle.
        folder: made when something is drawn.
        count: of samples, at least 1.
    """

    def __init__(self, source: PairSource, folder: Path, count: int) -> None:
        self.folder, self.signature = folder, source.signature
        total, step_s = len(source), source.signature["step_s"]
        chosen = (np.arange(min(count, total)) + 0.5) * total / min(count, total)
        self.pairs = source.pairs(chosen.astype(np.int64))
        self.sound: Pairs | None = None
        if step_s is not None and source.signature["sample_rate_hz"] is not None:
            length = min(total, max(1, round(SOUND_S / step_s)))
            self.sound = source.pairs(np.arange(length, dtype=np.int64) + (total - length) // 2)

    def has(self, epoch: int) -> bool:
        """Whether the picture and the sound of an epoch are there."""
        picture, sound = self._files(epoch)
        return picture.is_file() and (self.sound is None or sound.is_file())

    def _files(self, epoch: int) -> tuple[Path, Path]:
        name = f"epoch-{epoch:04d}"
        return self.folder / f"{name}.png", self.folder / f"{name}-from-video.wav"

    def show(self, model: TwoStreamAutoencoder, epoch: int) -> None:
        """Write the picture and the sound of an epoch."""
        self.folder.mkdir(exist_ok=True)
        picture, sound = self._files(epoch)
        views = {"original": (in_units(self.pairs.video), in_units(self.pairs.audio))}
        for condition in CONDITIONS:
            views[condition] = _made(model, self.pairs, condition)
        draw_views(views, picture, f"epoch {epoch}")
        if self.sound is not None:
            original = self.folder / "original.wav"
            if not original.exists():
                write_steps(original, in_units(self.sound.audio)[:, -1], self.signature)
            told = _made(model, self.sound, "video")[1][:, -1]  # (S, C, M, F)
            write_steps(sound, told, self.signature)


def write_steps(path: Path, steps: Tensor, signature: dict[str, Any]) -> None:
    """Write steps ``(S, C, M, F)`` in the units of `in_units`, one after the other, as a WAV file.

    Args:
        path: of the file.
        steps: of sound.
        signature: of their source, with sample rate, window and length of a step.
    """
    laid, rate = steps.permute(1, 2, 0, 3), int(signature["sample_rate_hz"])  # (C, M, S, F)
    if laid.shape[1] == 1:
        waveform = laid.flatten(1)
    else:
        waveform = waveform_of(
            laid,
            sample_rate_hz=rate,
            window_samples=signature["window_samples"],
            step_samples=round(rate * signature["step_s"]),
        )
    write_wave(path, waveform, rate)


@torch.no_grad()
def _made(model: TwoStreamAutoencoder, pairs: Pairs, condition: str) -> tuple[Tensor, Tensor]:
    """Return video and audio as they are made in a condition, on the CPU."""
    device = next(model.parameters()).device
    made = []
    for first in range(0, len(pairs.present), BATCH):
        part = Pairs(*(field[first : first + BATCH] for field in pairs)).to(device)
        made.append(model(*mask(part.video, part.audio, part.present, condition)))
    return torch.cat([one.video for one in made]).cpu(), torch.cat([one.audio for one in made]).cpu()


def draw_views(views: dict[str, tuple[Tensor, Tensor]], path: Path, title: str) -> None:
    """Write a PNG of samples as they were and as they were made.

    Args:
        views: video ``(B, T, C, H, W)`` and audio ``(B, T, C, M, F)`` in the units of `in_units`, by name.
        path: of the picture.
        title: above it.
    """
    from matplotlib.figure import Figure

    B = len(next(iter(views.values()))[0])
    sheets = [
        [[draw(view[modality][row]) for view in views.values()] for row in range(B)]
        for modality, draw in enumerate((as_picture, as_spectrogram))
    ]  # by modality, sample and view
    mosaics = [mosaic(sheet) for sheet in sheets]
    widths = [ROW * B * one.shape[1] / one.shape[0] for one in mosaics]
    figure = Figure(figsize=(sum(widths) + 0.6, ROW * B + 0.8), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=widths)
    for axes, name, sheet, picture in zip(panels, NAMES, sheets, mosaics, strict=True):
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        width = sheet[0][0].shape[1] + EDGE
        axes.set_xticks([width * (place + 0.5) for place in range(len(views))], list(views), fontsize=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_yticks([])
        axes.set_xlabel(f"{name}, reconstructed from")
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.suptitle(title)
    save(figure, path)
