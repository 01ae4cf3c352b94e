"""Corruptions for denoising: noise, a blanked block, a shift in time, dropped values.

Pure functions of a modality ``(B, T, C, H, W)`` or ``(B, T, C, M, F)``, which keeps its dtype and range. They
draw on the device of their generator, so that one on the CPU gives the same on every device.
"""

import torch
from torch import Generator, Tensor


def gaussian_noise(x: Tensor, std: float, generator: Generator) -> Tensor:
    """Return ``x`` with normal noise added to every value, cut to the range of its modality.

    Args:
        x: ``(B, T, C, H, W)`` uint8, or ``(B, T, C, M, F)`` float or int8.
        std: standard deviation in the unit of `in_units`: 1 is white, or full scale.
        generator: of the noise.

    Raises:
        ValueError: if ``std`` is negative.
    """
    if not std >= 0:
        raise ValueError(f"std must not be negative, got {std}")
    noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
    if x.is_floating_point():
        low = -1.0 if x.shape[-2] == 1 else 0.0  # one band: a waveform
        return (x + std * noise).clamp(low, 1.0).to(x.dtype)
    scale, limits = (255, (0, 255)) if x.dtype == torch.uint8 else (128, (-128, 127))
    return (x + std * scale * noise).round().clamp(*limits).to(x.dtype)


def mask_blocks(x: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Return ``x`` with one block of each sample set to 0, at a place drawn evenly, the same in all channels.

    Of pictures the block lies over rows and columns, the same in all steps; of sound over bands and time,
    with the steps laid end to end. Both sides are rounded, and at least 1 unless ``fraction`` is 0.

    Args:
        x: ``(B, T, C, H, W)`` uint8, or ``(B, T, C, M, F)`` float or int8.
        fraction: of the rows and of the columns that the block has, in ``[0, 1]``.
        generator: of the places.

    Raises:
        ValueError: if ``fraction`` lies outside ``[0, 1]``.
    """
    _check_fraction(fraction)
    B, T, _, rows, columns = x.shape
    steps = 1 if x.dtype == torch.uint8 else T
    inside = [_strip(B, side, fraction, generator).to(x.device) for side in (rows, steps * columns)]
    block = inside[0][:, :, None] & inside[1][:, None]  # (B, H, W) or (B, M, T F)
    block = block.reshape(B, rows, steps, columns).transpose(1, 2)[
        :, :, None
    ]  # (B, 1 or T, 1, H or M, W or F)
    return x.masked_fill(block, 0)


def _strip(count: int, side: int, fraction: float, generator: Generator) -> Tensor:
    """Return ``(B, side)`` flags of a run of places, as long in every sample and somewhere in each."""
    length = max(1, round(fraction * side)) if fraction > 0 else 0
    device = generator.device
    start = torch.randint(side - length + 1, (count, 1), generator=generator, device=device)  # (B, 1)
    place = torch.arange(side, device=device)
    return (place >= start) & (place < start + length)


def shift_in_time(x: Tensor, max_shift: int, generator: Generator) -> Tensor:
    """Return ``x`` with each sample moved in time by ``-max_shift..max_shift``, drawn evenly.

    What comes in from outside is 0. Pictures move by whole steps, sound by its own frames (a waveform by
    samples).

    Args:
        x: ``(B, T, C, H, W)`` uint8, or ``(B, T, C, M, F)`` float or int8.
        max_shift: in steps ``T`` or, of sound, in frames ``T F``; less than there are.
        generator: of the shifts.

    Raises:
        ValueError: if ``max_shift`` is negative or would move everything out.
    """
    B, T, C, rows, columns = x.shape
    is_sound = x.dtype != torch.uint8
    laid = x.permute(0, 1, 4, 2, 3).flatten(1, 2) if is_sound else x  # (B, T F, C, M) or (B, T, C, H, W)
    length = laid.shape[1]
    if not 0 <= max_shift < length:
        raise ValueError(f"max_shift must be in 0..{length - 1}, got {max_shift}")
    device = generator.device
    shift = torch.randint(-max_shift, max_shift + 1, (B, 1), generator=generator, device=device).to(x.device)
    source = torch.arange(length, device=x.device) - shift  # (B, T)
    sample = torch.arange(B, device=x.device)[:, None]
    moved = laid[sample, source.clamp(0, length - 1)]
    outside = ((source < 0) | (source >= length)).reshape(B, length, *[1] * (laid.dim() - 2))
    moved = moved.masked_fill(outside, 0)
    return moved.reshape(B, T, columns, C, rows).permute(0, 1, 3, 4, 2) if is_sound else moved


def drop_values(x: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Return ``x`` with every value set to 0 by itself, as often as ``fraction`` says.

    Args:
        x: any shape and dtype.
        fraction: probability of each to be lost, in ``[0, 1]``.
        generator: of the losses.

    Raises:
        ValueError: if ``fraction`` lies outside ``[0, 1]``.

    Source: Vincent et al. (2010), Stacked denoising autoencoders, section 3.3 (masking noise).
    """
    _check_fraction(fraction)
    drawn = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device)
    return x.masked_fill(drawn < fraction, 0)


def _check_fraction(fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
