"""What is usual for an agent, kept in the folder of its run or bundle."""

from pathlib import Path

from spl.agents.monitor.monitor import Usual
from spl.config.errors import UsageError
from spl.runs import checkpoint

FOLDER = "monitor"  # of a run's folder, or a bundle's


def load_usual(run: Path, step: int) -> Usual:
    """Return what is usual for the agent of a run, or of a bundle, at ``step``.

    Raises:
        UsageError: if it was not fitted, or to the agent of another step.
    """
    how = f"fit it with: spl evaluate agent {run} --conditions all --monitor true"
    if checkpoint.latest(run / FOLDER) is None:
        raise UsageError(f"{run} has no monitor yet: {how}")
    try:
        state = checkpoint.load(run / FOLDER)
        if state["step"] != step:
            raise UsageError(
                f"the monitor of {run} was fitted to the agent at step {state['step']:,}, "
                f"which is at {step:,} now: {how}"
            )
        return Usual.from_state(state["usual"])
    except (ValueError, KeyError) as error:
        raise UsageError(f"the monitor of {run} cannot be read: {error}; {how}") from error


def save_usual(run: Path, usual: Usual, step: int) -> None:
    """Keep what is usual for the agent at ``step`` in its folder, in place of what was kept before."""
    checkpoint.save(run / FOLDER, {"step": step, "usual": usual.state_dict()}, step=step, keep=1)
