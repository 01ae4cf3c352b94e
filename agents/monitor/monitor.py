"""A monitor that notices from the streams alone that a modality failed, though no presence flag tells.

What is usual is fitted to running that went well (:class:`Fitting`), kept as :class:`Usual`, and watched for
by :class:`ModalityMonitor`. Three signs, per modality:

- **Nothing new.** A step that is an exact copy of one of the last ``RECENT`` steps brings nothing new. A
  stream fails where more such steps follow one another than ``SLACK`` times the longest run that is usual.
  That finds what freezes, goes mute or black, and a delay when it begins, as it shows once more what it has
  shown. From then on it may lag, and nothing in it would tell: it has failed until the episode ends.
- **Unusual values.** Mean, spread and roughness (mean absolute difference of neighbours) usually lie between
  the least and the greatest of ``N`` steps, widened by ``MARGIN`` of the width at either end. A new step is
  as likely as any to be the extreme one: it lies beyond either end with a chance of at most ``2 / (N + 1)``,
  0.12 % for both streams' three values and ``N = 10,000``, before they are widened. Noise and silence lie
  beyond. A stream has failed until ``CALM`` steps in a row were usual.
- **Out of step with the other modality.** Where modalities tell of one another, a sound that lags by ``k``
  steps fits the picture of ``k`` steps ago better than the newest. With canonical variates ``x_i, y_i`` of
  correlation ``r_i``, picture and sound fit by (pointwise mutual information of Gaussians)
  ``fit(x, y) = sum_i -ln(1 - r_i^2) / 2 - (r_i^2 (x_i^2 + y_i^2) - 2 r_i x_i y_i) / (2 (1 - r_i^2))``.
  For each modality and lag ``k = 1..LAGS`` the gain ``z`` of the lagged pair over the newest, cut to
  ``+-CUT``, is added up while it stays above 0, ``S = max(0, S + z)``. A modality fails where its greatest
  ``S`` exceeds ``SLACK`` times the greatest that is usual by ``CUT``, and that of the other modality by
  ``LEAD``: when one of them lags, neither fits the other. It is asked only while the other signs are silent.
  Where nothing is shared (no ``r_i`` beyond chance), a lag that began unseen cannot be found.

Source: Hotelling (1936), Relations between two sets of variates; Page (1954), Continuous inspection schemes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.records import AUDIO, VIDEO, Observation

RECENT = 16  # steps among which a copy is looked for
SLACK = 1.5  # by how much more than ever before
MARGIN = 0.1  # of the usual range, at either end
CALM = 10  # usual steps after unusual values, until a stream counts as working again
LAGS = 8  # steps of delay that are looked for
CUT, LEAD = 4.0, 8.0  # nats: most evidence of one step; by which the one that lags leads the other
LEAST_CORRELATION = 0.2  # of canonical variates that are used, and 1.5 times what chance gives
MAX_VARIATES = 16  # principal components of each stream that are correlated
GRID, BANDS = 8, 32  # a picture is summed up by GRID x GRID means, a waveform by its level in as many bands
Floats = NDArray[np.float64]


class Signs(NamedTuple):
    """What one step shows of one stream."""

    stale: int  # steps in a row, this one included, that brought nothing new
    values: Floats  # (3,): mean, spread, roughness
    code: Floats  # (D,): what it is like, for the comparison with the other stream


@dataclass(frozen=True)
class Usual:
    """What is usual, of both streams; ``(2, ...)`` in the order video, audio."""

    num_steps: int  # that it was fitted to
    stale: NDArray[np.int64]  # (2,): longest run of steps that brought nothing new
    low: Floats  # (2, 3)
    high: Floats  # (2, 3)
    video_mean: Floats  # (Dv,) of the codes
    audio_mean: Floats  # (Da,)
    video_map: Floats  # (Dv, R): to variates of variance 1
    audio_map: Floats  # (Da, R)
    correlations: Floats  # (R,), R = 0 where the modalities tell nothing of one another
    evidence: float  # greatest S of a lag

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Usual":
        """Return what :meth:`state_dict` gave; raise ``KeyError`` where something is missing."""
        return cls(**{one.name: state[one.name] for one in fields(cls)})


class Reader:
    """Reads the signs of one environment's streams, step by step."""

    def __init__(self) -> None:
        self._shown: tuple[deque[bytes], deque[bytes]] = (deque(maxlen=RECENT), deque(maxlen=RECENT))
        self._stale = [0, 0]

    def begin(self) -> None:
        """Forget the episode before."""
        self._stale = [0, 0]
        for shown in self._shown:
            shown.clear()

    def read(self, observation: Observation, modality: int) -> Signs:
        """Return the signs of the newest step of one stream."""
        stream = observation.video if modality == VIDEO else observation.audio
        shown, whole = self._shown[modality], stream.tobytes()
        self._stale[modality] = self._stale[modality] + 1 if whole in shown else 0
        shown.append(whole)
        levels = stream.astype(np.float32)  # (C, H, W), (C, M, F) or (C, 1, N)
        axis = 1 if modality == AUDIO and levels.shape[1] > 1 else 2  # neighbouring bands, or samples
        roughness = np.abs(np.diff(levels, axis=axis)).mean() if levels.shape[axis] > 1 else 0.0
        values = np.array([levels.mean(), levels.std(), roughness], np.float64)
        return Signs(self._stale[modality], values, _code(levels, modality))


def _code(levels: NDArray[np.float32], modality: int) -> Floats:
    """Return a stream summed up: grid of a picture, bands of a sound."""
    flat = levels.mean(axis=0)  # (H, W), (M, F) or (1, N)
    if modality == AUDIO and len(flat) > 1:
        return np.asarray(flat.mean(axis=1), np.float64)  # (M,)
    if modality == AUDIO:
        power = np.abs(np.fft.rfft(flat[0]))
        return np.array([np.log1p(part.mean()) for part in np.array_split(power, min(BANDS, len(power)))])
    rows, columns = (np.linspace(0, side, min(GRID, side) + 1).astype(int)[:-1] for side in flat.shape)
    summed = np.add.reduceat(np.add.reduceat(flat, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff([*rows, flat.shape[0]]), np.diff([*columns, flat.shape[1]]))
    return np.asarray(summed / sizes, np.float64).ravel()


class Lags:
    """Adds up, for each modality and lag, how much better the lagged pair fits than the newest."""

    def __init__(self, correlations: Floats) -> None:
        self.r = correlations
        self._past: tuple[deque[Floats], deque[Floats]] = (deque(maxlen=LAGS), deque(maxlen=LAGS))
        self.sums = np.zeros((2, LAGS))

    def begin(self) -> None:
        """Forget the episode before."""
        self.sums[:] = 0.0
        for past in self._past:
            past.clear()

    def add(self, video: Floats, audio: Floats, most: float = np.inf) -> Floats:
        """Take in the newest variates ``(R,)``; return the greatest sum ``(2,)`` of each modality's lags.

        A sum is cut at ``most``, so that it comes down soon once the streams are in step again.
        """
        now = self.fit(video, audio)
        if self._past[VIDEO]:
            pictures, sounds = (np.array(past)[::-1] for past in self._past)  # (lags, R), the newest first
            lagged = np.array([self.fit(video, sounds), self.fit(pictures, audio)])  # who lags is as of now
            gains = (lagged - now).clip(-CUT, CUT)  # (2, lags)
            sums = self.sums[:, : gains.shape[1]]
            sums[:] = (sums + gains).clip(0.0, most)
        self._past[VIDEO].append(video)
        self._past[AUDIO].append(audio)
        return self.sums.max(axis=1)  # type: ignore[no-any-return]

    def fit(self, video: Floats, audio: Floats) -> Floats:
        """Return how well variates ``(..., R)`` fit each other, in nats; the formula is at the top."""
        square = self.r**2
        apart = (square * (video**2 + audio**2) - 2 * self.r * video * audio) / (2 * (1 - square))
        return (-0.5 * np.log(1 - square) - apart).sum(axis=-1)  # type: ignore[no-any-return]


class Fitting:
    """Reads running that went well, and fits what is usual to it.

    Called as a monitor is; it gives each observation on without the modalities ``absent``, which are taken
    from the agent, so that what it does without them is usual, too.
    """

    def __init__(self, num_envs: int = 1) -> None:
        self.absent: tuple[int, ...] = ()
        self._readers = [Reader() for _ in range(num_envs)]
        self._episodes: list[list[tuple[Signs, Signs]]] = []
        self._open = [0] * num_envs  # number of the episode of each environment

    def __call__(self, observation: Observation, env: int = 0, *, is_first: bool) -> Observation:
        """Read an observation in which no modality fails."""
        if is_first:
            self._readers[env].begin()
            self._open[env] = len(self._episodes)
            self._episodes.append([])
        video, audio = (_read(self._readers[env], observation, modality) for modality in (VIDEO, AUDIO))
        self._episodes[self._open[env]].append((video, audio))
        return observation.without(*self.absent) if self.absent else observation

    @property
    def num_steps(self) -> int:
        """Steps read so far."""
        return sum(map(len, self._episodes))

    def usual(self) -> Usual:
        """Return what is usual; raise ``ValueError`` if fewer than two steps were read."""
        pairs = [pair for episode in self._episodes for pair in episode]
        if len(pairs) < 2:
            raise ValueError(f"what is usual needs two steps or more, got {len(pairs)}")
        values = np.array([[one.values for one in pair] for pair in pairs])  # (N, 2, 3)
        low, high = values.min(axis=0), values.max(axis=0)
        stale = np.array([max(pair[modality].stale for pair in pairs) for modality in (VIDEO, AUDIO)])
        codes = [np.array([pair[modality].code for pair in pairs]) for modality in (VIDEO, AUDIO)]
        video_map, audio_map, correlations = canonical(*codes)
        means = [code.mean(axis=0) for code in codes]
        evidence, lags = 0.0, Lags(correlations)
        for episode in self._episodes if correlations.size else ():
            lags.begin()
            for video, audio in episode:
                variates = (video.code - means[VIDEO]) @ video_map, (audio.code - means[AUDIO]) @ audio_map
                evidence = max(evidence, float(lags.add(*variates).max()))
        width = MARGIN * (high - low)
        return Usual(
            num_steps=len(pairs),
            stale=stale,
            low=low - width,
            high=high + width,
            video_mean=means[VIDEO],
            audio_mean=means[AUDIO],
            video_map=video_map,
            audio_map=audio_map,
            correlations=correlations,
            evidence=evidence,
        )


def _read(reader: Reader, observation: Observation, modality: int) -> Signs:
    """Return the signs of a stream, or of none where the environment has none."""
    stream = observation.video if modality == VIDEO else observation.audio
    return reader.read(observation, modality) if stream.size else Signs(0, np.zeros(3), np.zeros(0))


def canonical(video: Floats, audio: Floats) -> tuple[Floats, Floats, Floats]:
    """Return maps to canonical variates and their correlations, as far as these are beyond chance.

    The greatest of independent codes is about ``sqrt(Kv / N) + sqrt(Ka / N)``, the edge of its spectrum.

    Args:
        video: codes ``(N, Dv)``.
        audio: codes of the same steps ``(N, Da)``.

    Returns:
        ``(Dv, R)``, ``(Da, R)`` and ``(R,)``, the greatest first; ``R`` may be 0.
    """
    maps = [_whitening(codes) for codes in (video, audio)]
    white = [(codes - codes.mean(axis=0)) @ to for codes, to in zip((video, audio), maps, strict=True)]
    left, correlations, right = np.linalg.svd(white[0].T @ white[1] / len(video), full_matrices=False)
    chance = sum(np.sqrt(to.shape[1] / len(video)) for to in maps)
    kept = correlations >= max(LEAST_CORRELATION, 1.5 * chance)
    return maps[0] @ left[:, kept], maps[1] @ right.T[:, kept], correlations[kept].clip(max=0.99)


def _whitening(codes: Floats) -> Floats:
    """Return ``(D, K)``: to the greatest principal components, of variance 1."""
    centred = codes - codes.mean(axis=0)
    powers, axes = np.linalg.eigh(centred.T @ centred / len(codes))
    order = np.argsort(powers)[::-1][:MAX_VARIATES]
    kept = order[powers[order] > 1e-6 * max(powers.max(initial=0.0), 1e-12)]
    return axes[:, kept] / np.sqrt(powers[kept])  # type: ignore[no-any-return]


class ModalityMonitor:
    """Clears the presence flag of a modality that failed; called with each observation before it is acted on.

    Args:
        usual: fitted by :class:`Fitting`.
        num_envs: environments, each watched by itself.
    """

    def __init__(self, usual: Usual, *, num_envs: int = 1) -> None:
        self.usual = usual
        self.failed = np.zeros((num_envs, 2), bool)  # as of the newest observation of each
        self._readers = [Reader() for _ in range(num_envs)]
        self._lags = [Lags(usual.correlations) for _ in range(num_envs)]
        self._unusual = np.zeros((num_envs, 2), int)  # steps for which unusual values still count
        self._stopped = np.zeros((num_envs, 2), bool)  # brought nothing new for too long in this episode

    def __call__(self, observation: Observation, env: int = 0, *, is_first: bool) -> Observation:
        """Return the observation without what failed; a modality that is absent already is left so."""
        if is_first:
            self._readers[env].begin()
            self._lags[env].begin()
            self._unusual[env], self._stopped[env] = 0, False
        usual, signs = self.usual, dict[int, Signs]()
        for modality in (VIDEO, AUDIO):
            if observation.present[modality]:
                one = signs[modality] = self._readers[env].read(observation, modality)
                self._stopped[env, modality] |= one.stale > SLACK * usual.stale[modality]
                low, high = usual.low[modality], usual.high[modality]
                is_beyond = not bool(((one.values >= low) & (one.values <= high)).all())  # NaN is
                self._unusual[env, modality] = CALM + 1 if is_beyond else self._unusual[env, modality]
        self._unusual[env] = np.maximum(self._unusual[env] - 1, 0)
        is_failed = self._stopped[env] | (self._unusual[env] > 0)
        if usual.correlations.size and len(signs) == 2 and not is_failed.any():
            limit = SLACK * usual.evidence + CUT
            sums = self._lags[env].add(*self._variates(signs), most=limit + 2 * LEAD)
            is_failed = (sums > limit) & (sums - sums[::-1] > LEAD)
        self.failed[env] = is_failed & observation.present
        lost: Sequence[int] = np.flatnonzero(self.failed[env]).tolist()
        return observation.without(*lost) if lost else observation

    def _variates(self, signs: dict[int, Signs]) -> tuple[Floats, Floats]:
        video = (signs[VIDEO].code - self.usual.video_mean) @ self.usual.video_map
        audio = (signs[AUDIO].code - self.usual.audio_mean) @ self.usual.audio_map
        return video, audio
