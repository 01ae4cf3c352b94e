"""Quality of codes: linear probes within and across modalities, their baselines, and retrieval.

Arrays in, numbers out; how codes are computed is not described here.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
NUM_BLOCKS = 8  # of consecutive samples, into which each class is cut
NUM_TEST_BLOCKS = 2  # of them, that a split holds out
NUM_COMPONENTS = 32  # principal ones of each modality, for the baselines
NUM_CANONICAL = 8  # pairs of correlated directions


class Split(NamedTuple):
    """Which samples a probe learns from, and on which it is tried."""

    train: NDArray[np.int64]  # positions
    test: NDArray[np.int64]


def splits_in_time(
    labels: NDArray[np.int64], places: NDArray[np.int64], *, gap: int, count: int, seed: int
) -> Iterator[Split]:
    """Yield splits that hold out whole stretches of time, as neighbouring samples are nearly the same.

    Each class's samples, in order, are cut into `NUM_BLOCKS` blocks as equal as can be, of which
    `NUM_TEST_BLOCKS` are drawn and held out. What overlaps with a held-out sample is left out of both.

    Args:
        labels: ``(N,)``.
        places: ``(N,)`` rising, of the samples in their source.
        gap: samples nearer to each other than this share steps.
        count: of splits.
        seed: of the draws.

    Raises:
        ValueError: if a class has fewer samples than blocks.
    """
    blocks = np.zeros(len(labels), np.int64)
    classes, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < NUM_BLOCKS:
        raise ValueError(
            f"each class must have at least {NUM_BLOCKS} samples to be split in time, got {sizes.min()}"
        )
    for label, size in zip(classes, sizes, strict=True):
        blocks[labels == label] = np.arange(size) * NUM_BLOCKS // size
    for number in range(count):
        generator = np.random.default_rng([seed, number])
        is_test = np.zeros(len(labels), np.bool_)
        for label in classes:
            drawn = generator.permutation(NUM_BLOCKS)[:NUM_TEST_BLOCKS]
            is_test |= (labels == label) & np.isin(blocks, drawn)
        held_out = places[is_test]
        after = np.searchsorted(held_out, places).clip(0, len(held_out) - 1)
        nearest = np.minimum(np.abs(held_out[after] - places), np.abs(held_out[(after - 1).clip(0)] - places))
        yield Split(np.flatnonzero(~is_test & (nearest >= gap)), np.flatnonzero(is_test))


def probe(features: Mapping[str, Array], labels: NDArray[np.int64], split: Split) -> dict[str, float]:
    """Return the share of held-out samples whose class a linear probe tells, for each pair of features.

    ``"video to audio"`` learns from the first and is tried on the second, without knowing which: logistic
    regression on features whose mean and mean variance are 0 and 1 where it learns. All units are scaled
    alike: one that a modality never uses would else be amplified until it decides alone about the other.

    Args:
        features: ``(N, D)`` each, of the same samples and meaning.
        labels: ``(N,)``.
        split: of the samples.
    """
    from sklearn.linear_model import LogisticRegression

    told = {}
    for learned, known in features.items():
        mean, spread = known[split.train].mean(axis=0), np.sqrt(known[split.train].var(axis=0).mean())
        scale = spread if spread > 0 else 1.0
        model = LogisticRegression(max_iter=5_000)
        model.fit((known[split.train] - mean) / scale, labels[split.train])
        for tried, unknown in features.items():
            shown = (unknown[split.test] - mean) / scale
            told[f"{learned} to {tried}"] = float(model.score(shown, labels[split.test]))
    return told


def principal(x: Array, seed: int) -> Array:
    """Return the `NUM_COMPONENTS` principal components ``(N, K)`` of ``x (N, D)``; fewer where there are.

    There are none, ``(N, 0)``, of what is always the same.
    """
    from sklearn.decomposition import PCA

    if (x == x[0]).all():
        return x[:, :0]
    count = min(NUM_COMPONENTS, len(x) - 1, x.shape[1])
    model = PCA(count, svd_solver="randomized", random_state=seed)
    components = model.fit_transform(x)
    is_there = model.explained_variance_ > 1e-6 * model.explained_variance_[0]
    kept: Array = components[:, is_there].astype(np.float32)
    return kept


def canonical(video: Array, audio: Array, split: Split) -> dict[str, Array]:
    """Return what of each modality is correlated with the other, as features ``(N, K)`` with common meaning.

    The directions are found on the samples that the split trains on.

    Args:
        video, audio: ``(N, D)`` components of each modality.
        split: of the samples.

    Source: Hotelling (1936), Relations between two sets of variates.
    """
    from sklearn.cross_decomposition import CCA

    count = min(NUM_CANONICAL, video.shape[1], audio.shape[1])
    model = CCA(count, max_iter=2_000)
    with warnings.catch_warnings():  # the last directions, hardly correlated, may not settle or not be there
        warnings.simplefilter("ignore", UserWarning)
        model.fit(video[split.train], audio[split.train])
    seen, heard = model.transform(video, audio)
    return {"video": seen, "audio": heard}


def recalls(queries: Array, answers: Array, at: tuple[int, ...] = (1, 5, 10)) -> dict[int, float]:
    """Return how often a query's own answer is among the ``k`` most similar ones, for each ``k`` of ``at``.

    Similar is a large cosine. Answers as similar as the right one count as more similar, so that codes that
    are all the same find nothing.

    Args:
        queries: ``(N, D)``.
        answers: ``(N, D)``, row ``i`` belongs to row ``i`` of the queries.
        at: ``k``.
    """
    similarity = directions(queries) @ directions(answers).T  # (N, N)
    own = np.diagonal(similarity)[:, None]
    before = (similarity >= own - 1e-6).sum(axis=1) - 1  # (N,) answers that come first
    return {k: float((before < k).mean()) for k in at}


def directions(x: Any) -> NDArray[np.float64]:
    """Return the rows of ``x (N, D)`` with length 1; what is 0 stays so."""
    x = np.asarray(x, np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    unit: NDArray[np.float64] = x / np.where(lengths > 0, lengths, 1.0)
    return unit
