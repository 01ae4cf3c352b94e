"""Losses as pure functions: one number per sample, ``(B,)``, never reduced here."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

STILL = 1e-4  # share of the units' mean variance, up to which a unit of a code does not differ


def temporal_difference(values: Tensor, targets: Tensor, *, huber: bool = True) -> Tensor:
    """Return the loss of ``delta = target - value`` per sample.

    Huber: ``delta^2 / 2`` where ``|delta| <= 1``, else ``|delta| - 1/2``, so that its gradient is the clipped
    difference; otherwise ``delta^2 / 2``.

    Args:
        values: ``(B,)``, in units of return.
        targets: ``(B,)``, detached.
        huber: clip the gradient at 1.

    Returns:
        ``(B,)``, non-negative.

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, Methods.
    """
    if huber:
        return functional.huber_loss(values, targets, reduction="none")
    return functional.mse_loss(values, targets, reduction="none") / 2


def classification(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy between labels and the softmax of the logits, per sample.

    ``-sum_k q_k log p_k`` with ``q = (1 - e) onehot(y) + e / K``; without smoothing ``e = 0``.

    Args:
        logits: ``(B, K)``, unnormalised.
        labels: ``(B,)`` integers in ``0..K-1``.
        label_smoothing: ``e``, in ``[0, 1)``.

    Returns:
        ``(B,)``, non-negative, in nats, float32 whatever the logits are.

    Raises:
        ValueError: if ``label_smoothing`` lies outside ``[0, 1)``.

    Source: Szegedy et al. (2016), Rethinking the Inception architecture, section 7.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=label_smoothing)


def reconstruction(output: Tensor, target: Tensor, *, variance: float) -> Tensor:
    """Return the squared error per sample, as a share of what predicting the mean would cost.

    ``mean_n (y_n - x_n)^2 / mean_n Var(x_n)``, ``n`` over all values of a sample and ``Var`` over the samples
    of the dataset, each position on its own. Predicting every position's mean therefore costs 1 on average
    over the dataset, whatever the modality, its size and its unit; 0 is perfect. `Moments` measures both.

    Args:
        output: ``(B, ...)``.
        target: ``(B, ...)``, of the same shape and unit.
        variance: ``mean_n Var(x_n)``, in that unit squared.

    Returns:
        ``(B,)``, non-negative, float32 or finer.

    Raises:
        ValueError: if the shapes differ, or ``variance`` is not positive: what never changes teaches
            nothing.
    """
    if output.shape != target.shape or output.dim() < 2:
        raise ValueError(
            f"output and target must both be (B, ...), got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    if not variance > 0:
        raise ValueError(f"variance must be positive, got {variance}: data that never change teach nothing")
    return _fine(output - target).square().flatten(1).mean(dim=1) / variance


def over_modalities(losses: Tensor, present: Tensor, *, weights: Sequence[float]) -> Tensor:
    """Return each sample's mean of its modalities' losses, weighted, over the modalities that it has.

    ``sum_m w_m p_m l_m / sum_m w_m p_m``, and 0 for a sample that has none of weight: what costs 1 in each
    modality costs 1. ``present`` is of the clean sample, not of the view shown: a hidden modality counts.

    Args:
        losses: ``(B, 2)`` of video and audio.
        present: ``(B, 2)`` bool, which modalities the sample has.
        weights: of video and audio, non-negative, not both 0.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: if the shapes differ, or the weights are not such.
    """
    if losses.shape != present.shape or losses.dim() != 2:
        raise ValueError(
            f"losses and present must both be (B, 2), got {tuple(losses.shape)} and {tuple(present.shape)}"
        )
    if len(weights) != losses.shape[1] or min(weights) < 0 or max(weights) <= 0:
        raise ValueError(
            f"weights must be {losses.shape[1]} numbers, none negative and one positive, got {weights}"
        )
    shares = losses.new_tensor(weights) * present  # (B, 2)
    total = shares.sum(dim=1)  # (B,)
    kept = losses.masked_fill(~present, 0.0)  # an absent modality's may be anything
    return (shares * kept).sum(dim=1) / torch.where(total > 0, total, 1.0)


def squared_sparsity(activations: Tensor, target: float) -> Tensor:
    """Return ``sum_j (target - mean_k h_kj)^2``, for every sample the same: it is the batch that is sparse.

    Args:
        activations: ``h (B, D)`` of ``D`` hidden units.
        target: expected activation of each.

    Returns:
        ``(B,)``, all equal, so that their mean is the penalty.

    Raises:
        ValueError: if ``activations`` is not ``(B, D)``.

    Source: Lee, Ekanadham, Ng (2008), Sparse deep belief net model for visual area V2, equation 3, as in
    Ngiam et al. (2011), Multimodal deep learning.
    """
    return (target - _expected(activations)).square().sum().expand(len(activations))


def kl_sparsity(activations: Tensor, target: float) -> Tensor:
    """Return ``sum_j KL(target || mean_k h_kj)`` in nats between two coins, for every sample the same.

    Args:
        activations: ``h (B, D)`` in ``[0, 1]``, as a sigmoid gives them.
        target: expected activation of each, in ``(0, 1)``.

    Returns:
        ``(B,)``, all equal, so that their mean is the penalty.

    Raises:
        ValueError: if ``target`` or a unit's mean is not in ``(0, 1)``, or an activation not in ``[0, 1]``.

    Source: Ng (2011), Sparse autoencoder, CS294A lecture notes, section 3.
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"target must be in (0, 1), got {target}")
    mean = _expected(activations)
    values = torch.stack((activations.min(), activations.max(), mean.min(), mean.max())).tolist()
    if not (values[0] >= 0 and values[1] <= 1 and values[2] > 0 and values[3] < 1):
        raise ValueError(
            "the KL penalty needs activations in (0, 1), got {:.4g} to {:.4g} with means {:.4g} to {:.4g}; "
            "use a sigmoid activation, or another penalty".format(*values)
        )
    on = target * (target / mean).log()
    off = (1 - target) * ((1 - target) / (1 - mean)).log()
    return (on + off).sum().expand(len(activations))


def l1_sparsity(activations: Tensor) -> Tensor:
    """Return ``sum_j |h_j|`` of each sample, whose mean over the batch is that of the expected magnitudes.

    Args:
        activations: ``h (B, D)``.

    Returns:
        ``(B,)``, non-negative.

    Raises:
        ValueError: if ``activations`` is not ``(B, D)``.
    """
    return _checked(activations).abs().sum(dim=1)


def _expected(activations: Tensor) -> Tensor:
    """Return each unit's mean over the batch ``(D,)``."""
    return _checked(activations).mean(dim=0)


def _checked(activations: Tensor) -> Tensor:
    """Return ``activations`` in float32 or finer: a sigmoid's bfloat16 mean may round to 1."""
    if activations.dim() != 2:
        raise ValueError(f"activations must be (B, D), got {tuple(activations.shape)}")
    return _fine(activations)


def squared_alignment(seen: Tensor, heard: Tensor) -> Tensor:
    """Return how far the two codes of each sample lie apart, as a share of what each unit differs anyway.

    ``mean_j (s_ij - h_ij)^2 / (Var_i s_ij + Var_i h_ij)`` over the units ``j`` that differ (`STILL`): 1 on
    average for codes that have nothing to do with each other, 0 for equal ones. The plain distance would
    rather shrink all codes to nothing; this does not change with the scale of any unit. As a share of all
    units' variance together it would be small for codes that agree in one large direction and in nothing
    else. 0 for a sample without others, or where no code differs.

    Args:
        seen: ``(B, D)``, code of the video alone.
        heard: ``(B, D)``, code of the audio alone, of the same samples in the same order.

    Returns:
        ``(B,)``, non-negative.

    Raises:
        ValueError: if the shapes differ or are not ``(B, D)``.

    Source: each unit standardised as in the invariance term of Zbontar et al. (2021), Barlow twins, eq. 2;
    for equal means and variances a unit's mean over the batch is ``1 - r``, ``r`` its correlation.
    """
    seen, heard = _pair(seen, heard)
    spread = seen.var(dim=0, correction=0) + heard.var(dim=0, correction=0)  # (D,)
    differs = spread > STILL * spread.mean()
    apart = (seen - heard).square() / torch.where(differs, spread, 1.0)  # (B, D)
    return (apart * differs).sum(dim=1) / differs.sum().clamp(min=1)


def infonce_alignment(seen: Tensor, heard: Tensor, temperature: float) -> Tensor:
    """Return how badly each code of one modality picks its partner among the batch's codes of the other.

    With ``c_ik = cos(s_i, h_k) / temperature``: ``-(log softmax_k(c_ik) + log softmax_k(c_ki)) / 2`` at
    ``k = i``, both directions alike. ``log B`` by chance, 0 for a sample without others; every sample must
    have both modalities, so choose those rows first.

    Args:
        seen: ``(B, D)``, code of the video alone.
        heard: ``(B, D)``, code of the audio alone, of the same samples in the same order.
        temperature: of the softmax; the smaller, the more the nearest wrong partner counts.

    Returns:
        ``(B,)``, non-negative, in nats.

    Raises:
        ValueError: if the shapes differ or are not ``(B, D)``, or ``temperature`` is not positive.

    Source: van den Oord et al. (2018), Representation learning with contrastive predictive coding, eq. 4;
    symmetrical as in Radford et al. (2021), CLIP, figure 3.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    seen, heard = (functional.normalize(code, dim=1) for code in _pair(seen, heard))
    scores = seen @ heard.T / temperature  # (B, B)
    partner = torch.arange(len(scores), device=scores.device)
    to_audio = functional.cross_entropy(scores, partner, reduction="none")
    to_video = functional.cross_entropy(scores.T, partner, reduction="none")
    return (to_audio + to_video) / 2


def _pair(seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """Return both codes in float32 or finer."""
    if seen.shape != heard.shape or seen.dim() != 2:
        raise ValueError(
            f"seen and heard must both be (B, D), got {tuple(seen.shape)} and {tuple(heard.shape)}"
        )
    return _fine(seen), _fine(heard)


def _fine(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


# Each is called with the activations (B, D) and the target, which L1 has none of: its target is 0.
SPARSITY: dict[str, Callable[[Tensor, float], Tensor]] = {
    "squared": squared_sparsity,
    "kl": kl_sparsity,
    "l1": lambda activations, target: l1_sparsity(activations),
}
# Each is called with the codes (B, D) of video alone and audio alone, and the temperature of InfoNCE.
ALIGNMENT: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "squared": lambda seen, heard, temperature: squared_alignment(seen, heard),
    "infonce": infonce_alignment,
}
