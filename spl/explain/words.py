"""A decision in words: stored phrases, each said under one condition on what was measured, and no others.

``LEFT: 83 % by audio, from the low bands; video counted for little``. What is measured, by whom, is not here;
nothing is generated or guessed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spl.printable import printable
from spl.records import AUDIO, VIDEO

STATE = 2  # behind the modalities, where there is a state vector
NAMES = ("video", "audio", "state")  # at these positions
LITTLE = 0.1  # share of a modality, up to which it counted for little
ALIKE = 0.6  # share of the larger one, up to which both count alike
SELDOM = 0.05  # share of other moments, up to which hardly any
MOST = 0.5  # of what all places add, from which a third of a side is named: an even map has 1/3 there
ROWS, COLUMNS, BANDS = ("top", "middle", "bottom"), ("left", "middle", "right"), ("low", "middle", "high")

Thirds = tuple[float, float, float]  # shares of a map's heat, of sum 1, or 0 where it has none


def shares_of(video: float, audio: float, both: float, state: float | None = None) -> tuple[float, ...]:
    """Return each modality's share of a choice: of the changes that its being another moment's makes.

    ``c_video / (c_video + c_audio)`` and audio likewise; a state is a third. Where neither changes the
    action above `SELDOM`, both have half if the two together do, else 0. So a modality that is alike in all
    moments, or that the agent does not read, has no share: that is what sets this apart from the share by
    absence, in which it has one where it tells the agent what it would otherwise not know.

    Args:
        video, audio, both: shares of other moments whose video, audio, both lead to another action.
        state: of those whose state does; None: there is none.
    """
    parts = (video, audio) if state is None else (video, audio, state)
    changes = tuple(one if one > SELDOM else 0.0 for one in parts)
    total = sum(changes)
    if total > 0:
        return tuple(one / total for one in changes)
    return ((0.5, 0.5) if both > SELDOM else (0.0, 0.0)) + (0.0,) * (len(parts) - 2)


class Evidence(NamedTuple):
    """What is measured of one decision of an agent that has, or lacks, video and audio in this order."""

    has: tuple[bool, bool]  # the agent's modalities
    present: tuple[bool, bool]  # those that it was given
    changes: tuple[float, ...]  # shares of other moments whose video, audio, both, state lead elsewhere
    rows: Thirds | None = (
        None  # of what the pixels add: the picture's top, middle, bottom; None without a map
    )
    columns: Thirds | None = None  # on its left, middle, right
    bands: Thirds | None = None  # on the sound's low, middle, high bands

    @property
    def has_state(self) -> bool:
        """Whether the agent reads a state."""
        return len(self.changes) > 3

    @property
    def shares(self) -> tuple[float, ...]:
        """Each modality's share of the choice, as `shares_of`."""
        return shares_of(*self.changes)

    @property
    def is_told_twice(self) -> bool:
        """Whether either modality would do: of another moment alone neither changes the action, both do."""
        return max(self.changes[:2] + self.changes[3:]) <= SELDOM < self.changes[2]

    @property
    def named(self) -> tuple[str, ...]:
        """The modalities that the sentence gives as reasons, the larger share first."""
        order = sorted(range(len(self.shares)), key=lambda one: -self.shares[one])
        return tuple(NAMES[one] for one in order if self.shares[one] > LITTLE)


def sentence(action: str, evidence: Evidence) -> str:
    """Return a decision's sentence: what was done, by what, from where, and whether it took both.

    | Words | Condition |
    |---|---|
    | ``83 % by audio`` | a share above `LITTLE`, as `shares_of`; no number where there is one modality |
    | ``by both alike`` | both shares up to `ALIKE` |
    | ``video counted for little`` | a share up to `LITTLE` |
    | ``by video or audio: either alone would do`` | `Evidence.is_told_twice` |
    | ``video was absent`` | its presence flag is down |
    | ``whatever it was given`` | up to `SELDOM`, another moment leads to another action |
    | ``from the low bands``, ``from the top left`` | these thirds hold `MOST` of the map's heat or more |

    Args:
        action: the environment's name of it; control characters are escaped.
        evidence: of the decision.
    """
    there = [one for one in (VIDEO, AUDIO) if evidence.has[one] and evidence.present[one]]
    absent = [one for one in (VIDEO, AUDIO) if evidence.has[one] and one not in there]
    there += [STATE] if evidence.has_state else []
    clauses = [_reasons(evidence, there)]
    others = [NAMES[one] for one in there if NAMES[one] not in evidence.named]
    if evidence.named and others:
        clauses.append(f"{' and '.join(others)} counted for little")
    clauses += [f"{NAMES[one]} was absent" for one in absent]
    return f"{printable(action)}: {'; '.join(clauses)}"


def _reasons(evidence: Evidence, there: Sequence[int]) -> str:
    """Return what the decision rests on, the larger share first."""
    if evidence.is_told_twice:
        return "by video or audio: either alone would do"
    if not evidence.named:
        return "whatever it was given"
    parts = []
    for name in evidence.named:
        modality = NAMES.index(name)
        share = f"{100 * evidence.shares[modality]:.0f} % " if len(there) > 1 else ""
        parts.append(f"{share}by {name}{_place(evidence, modality)}")
    is_alike = len(parts) == len(there) == 2 and max(evidence.shares) <= ALIKE
    alike = "by both alike: " if is_alike else ""
    return alike + " and ".join(parts)


def _place(evidence: Evidence, modality: int) -> str:
    """Return where the map of what speaks for the action is hot; nothing where it is so all over."""
    if modality == STATE:
        return ""
    if modality == AUDIO:
        band = _third(evidence.bands, BANDS)
        return f", from the {band} bands" if band else ""
    row, column = _third(evidence.rows, ROWS), _third(evidence.columns, COLUMNS)
    if row == column == "middle":
        return ", from the centre"
    if not row or not column:
        only = row or column
        side = "rows" if row else "columns"
        return f", from the {only}{f' {side}' if only == 'middle' else ''}" if only else ""
    return f", from the {' '.join(word for word in (row, column) if word != 'middle')}"


def _third(shares: Thirds | None, names: Sequence[str]) -> str:
    """Return the name of the third that holds `MOST` of the heat, else nothing."""
    if shares is None or max(shares) < MOST:
        return ""
    return names[shares.index(max(shares))]


def thirds(maps: Tensor | None, axis: int) -> list[Thirds | None]:
    """Return the shares of each map's heat ``(B, H, W)`` in thirds of one side, cut at whole rows or columns.

    Args:
        maps: not negative; None gives an empty list.
        axis: 1 for rows, 2 for columns; a side of fewer than 3 has no thirds, and None for each map.
    """
    if maps is None:
        return []
    heat = maps.cpu().double().sum(dim=3 - axis)  # (B, side)
    side = heat.shape[1]
    if side < 3:
        return [None] * len(maps)
    cuts = [round(side * part / 3) for part in range(4)]
    sums = torch.stack([heat[:, cuts[part] : cuts[part + 1]].sum(dim=1) for part in range(3)], dim=1)
    total = sums.sum(dim=1, keepdim=True)
    shares = torch.where(total > 0, sums / total, 0.0)
    return [(low, middle, high) for low, middle, high in shares.tolist()]


def evidence_of(
    changes: Tensor,
    present: Tensor,
    has: tuple[bool, bool],
    maps: tuple[Tensor | None, Tensor | None],
) -> list[Evidence]:
    """Return what is measured of ``B`` decisions.

    Args:
        changes: ``(B, 3)``, or ``(B, 4)`` with a state, as `Evidence.changes`.
        present: ``(B, 2)`` bool.
        has: the modalities of the agent.
        maps: over the picture ``(B, H, W)`` and the strip of sound ``(B, M, T F)``, lowest band first.
    """
    seen, heard = maps
    absent: list[Thirds | None] = [None] * len(changes)
    rows, columns, bands = (thirds(*one) or absent for one in ((seen, 1), (seen, 2), (heard, 1)))
    found = zip(changes.tolist(), present.tolist(), rows, columns, bands, strict=True)
    return [Evidence(has, (flags[0], flags[1]), tuple(changed), *places) for changed, flags, *places in found]
