"""Broken images in a folder: detecting them, and the message that refuses them."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from spl.data.images.files import fault_of
from spl.folder_files import named
from spl.printable import printable
from spl.runs.logger import Report


class Looking(NamedTuple):
    """What is done about broken pictures."""

    is_asked_for: bool = True  # look at each picture; False: a broken one is met when it is read
    is_skipping: bool = False  # leave out what is broken instead of refusing the folder
    skipped: Collection[str] | None = None  # what a run has left out since it began; None: it begins now

    def faults(self, root: Path, names: Sequence[str]) -> dict[str, str]:
        """Return why a picture is broken, for each that is; read to its end where it may be left out."""
        if not self.is_asked_for:
            return {}
        is_thorough = self.is_skipping and self.skipped is None
        faults: dict[str, str] = {}
        report = Report(root, "", len(names), is_logged=False)  # never entered: plain lines, if it takes long
        for number, name in enumerate(names):
            if (fault := fault_of(root / name, is_thorough=is_thorough)) is not None:
                faults[name] = fault
            if report.is_due():
                report.show(number + 1, {"pictures looked at": number + 1, "broken": len(faults)})
        return faults


def refusal(root: Path, faults: dict[str, str], count: int, *, is_running: bool) -> str:
    """Return the sentence that refuses broken pictures, with a fix that can be followed."""
    them = "it" if len(faults) == 1 else "them"
    fix = f"mend or delete {them}, or leave {them} out with --data.skip_broken true"
    if is_running:
        fix = "restore intact copies: a run resumes with the images that it began with"
    each = named([f"{printable(name)} ({fault})" for name, fault in faults.items()], len(faults))
    return f"{len(faults):,} of {count:,} pictures in {printable(str(root))} cannot be read: {each}; {fix}"
