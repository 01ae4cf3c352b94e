"""The subtitles of a film: sentences of decisions, as a SubRip file beside it."""

from collections.abc import Callable
from pathlib import Path

from spl.agents.evaluation.rollout import Shot
from spl.explain.words import sentence
from spl.records import Action
from spl.runs.files import replace_text


class Subtitles:
    """Gathers sentences with their times; one that is said again stays as it is.

    Args:
        name_of: returns what the environment calls an action.
    """

    def __init__(self, name_of: Callable[[Action], str]) -> None:
        self.name_of = name_of
        self._cues: list[tuple[float, str]] = []  # from when, what; nothing is said until the next one

    def take_in(self, shot: Shot, begins_s: float) -> None:
        """Take in a shot that is shown from ``begins_s`` on; an episode's end ends what is said."""
        if shot.reason is None:
            self._cues.append((begins_s, ""))
        elif shot.reason.evidence is not None:
            text = sentence(self.name_of(shot.reason.action), shot.reason.evidence)
            if not self._cues or self._cues[-1][1] != text:
                self._cues.append((begins_s, text))

    def as_srt(self, ends_s: float) -> str:
        """Return the file's text, for a film of ``ends_s``; what begins later is left out."""
        ends = [begins for begins, _ in self._cues[1:]] + [ends_s]
        cues = [
            (begins, min(end, ends_s), text)
            for (begins, text), end in zip(self._cues, ends, strict=False)
            if text and begins < min(end, ends_s)
        ]
        return "\n".join(
            f"{number}\n{clock(begins)} --> {clock(end)}\n{text}\n"
            for number, (begins, end, text) in enumerate(cues, start=1)
        )

    def write(self, path: Path, ends_s: float) -> None:
        """Write the file; `OSError` if the disk refuses."""
        replace_text(path, self.as_srt(ends_s))


def clock(seconds: float) -> str:
    """Return a time as SubRip has it: ``00:01:02,500``."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"
