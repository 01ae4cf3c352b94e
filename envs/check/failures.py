"""What an environment raised, and at which of the user's lines."""

import contextlib
import traceback
from pathlib import Path

import spl
import spl.envs
from spl.envs.api_checks import AnswerError
from spl.envs.check.findings import Finding

RAISED = (Exception, SystemExit)  # whatever an environment may raise
OURS = tuple(f"{Path(module.__path__[0]).resolve()}/" for module in (spl, spl.envs))
LIBRARIES = ("site-packages", "dist-packages", "<frozen", str(Path(contextlib.__file__).parent))


class EnvFailure(Exception):
    """The environment raised while it was being made, reset or stepped; the cause is its error."""


def of_failure(where: str, error: BaseException | None) -> Finding:
    """Return the fault that an environment raised ``error``, or answered in a form that cannot be used."""
    if isinstance(error, AnswerError):
        return Finding("interface", "fault", f"{where}: {error.what}", error.fix)
    at = place_raised(error)
    if isinstance(error, SystemExit):
        what = f"{where} called exit({'' if error.code is None else repr(error.code)})"
        fix = f"end the episode instead, with terminated or truncated, or raise an error{at}"
        return Finding("errors", "fault", what, fix)
    details = f": {error}" if str(error) else ""
    fix = f"fix what raised it{at}"
    return Finding("errors", "fault", f"{where} raised {type(error).__name__}{details}", fix)


def place_raised(error: BaseException | None) -> str:
    """Return `` (file, line)`` of an error: the user's innermost line, else a library's, never ours."""
    frames = traceback.extract_tb(None if error is None else error.__traceback__)
    return innermost([(one.filename, one.lineno or 0) for one in frames])


def innermost(frames: list[tuple[str, int]]) -> str:
    """Return `` (file, line)`` of the innermost of frames, last in the list, that serves as above."""
    outside = [one for one in frames if not str(Path(one[0]).resolve()).startswith(OURS)]
    own = [one for one in outside if not any(part in one[0] for part in LIBRARIES)]
    return "".join(f" ({file}, line {line})" for file, line in (own or outside)[-1:])
