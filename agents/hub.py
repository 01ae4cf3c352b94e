"""Bundles on the Hugging Face Hub: where a run is asked for, ``hub:user/name`` is fetched."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spl.agents.bundle import FILES, is_bundle
from spl.config.errors import UsageError
from spl.packages import require

PREFIX = "hub:"
ADDRESS = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")  # hub:user/name, hub:user/name@revision
FETCHED = Path("runs") / "hub"  # where bundles are fetched to
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def local_folder(run: str | Path) -> Path:
    """Return the folder of a run; of ``hub:user/name`` or ``hub:user/name@revision`` that of its bundle.

    The bundle's own files alone are fetched, to ``runs/hub/user/name``, and only those that have changed.

    Raises:
        UsageError: if there is no such bundle, huggingface_hub is missing, or the Hub cannot be reached.
    """
    if not str(run).startswith(PREFIX):
        return Path(run)
    name, revision = parts_of(str(run))
    hub = require("huggingface_hub", f"{run} needs huggingface_hub")
    folder = FETCHED / (name if revision is None else f"{name}@{revision.replace('/', '-')}")
    with telling(str(run), f"is not on the Hub, or not for you to read: check the name, or {LOG_IN}"):
        hub.snapshot_download(
            name, revision=revision, local_dir=folder, allow_patterns=list(FILES), endpoint=endpoint()
        )
    if not is_bundle(folder):
        raise UsageError(f"{run} is no agent of spl: what `spl push` writes holds {FILES[0]}")
    return folder


def parts_of(address: str) -> tuple[str, str | None]:
    """Return the name and the revision, if any, of an address."""
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"an address on the Hub must be hub:user/name, got {address!r}")
    return found[1], found[2]


def endpoint() -> str | None:
    """Return where the Hub is, if not at its own address."""
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def telling(address: str, refusal: str) -> Iterator[None]:
    """Tell in a sentence what goes wrong on the Hub; ``refusal``: if nobody is let in, or it is not there."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{address} has no such revision") from error
    except (errors.RepositoryNotFoundError, errors.LocalTokenNotFoundError) as error:
        raise UsageError(f"{address} {refusal}") from error
    except errors.HFValidationError as error:
        raise UsageError(f"{address} is no address on the Hub: {error}") from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise UsageError(f"{address} {refusal}") from error
        raise UsageError(f"{address}: the Hub answers {str(error).splitlines()[0]}") from error
    except (HTTPError, ConnectionError, errors.LocalEntryNotFoundError) as error:
        raise UsageError(f"{address}: the Hub cannot be reached; try again, or use a folder") from error
