"""What the keys of a live window do: pace, pauses, what is taken from the agent, a human's own actions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from spl.records import AUDIO, VIDEO

SLOWEST, FASTEST = 0.125, 32.0  # times the environment's own pace
ARROWS = {"up": "UP", "down": "DOWN", "left": "LEFT", "right": "RIGHT"}
FIRE = {"FIRE", "ATTACK", "SHOOT", "B"}  # what the space bar means, where an action is called so
IDLE = {"NOOP", "NOTHING", "WAIT", "STAY", "NONE"}
TAKEN = {"v": VIDEO, "a": AUDIO}


@dataclass
class Controls:
    """The state of the keys, and what they have set.

    Without an action that does nothing, a human's environment waits for a key.
    """

    action_names: Sequence[str]
    is_human: bool = False
    speed: float = 1.0  # times the environment's own pace
    is_paused: bool = False
    is_closed: bool = False
    absent: frozenset[int] = frozenset()  # modalities that are taken from the agent
    _num_steps: int = 0  # to take though it is paused
    _held: list[str] = field(default_factory=list)  # keys of actions, the newest last

    def press(self, key: str) -> None:
        """Take in a key by its name, such as ``p`` or ``left``."""
        if key in ("q", "escape"):
            self.is_closed = True
        elif key == "p" or (key == "space" and not self.is_human):
            self.is_paused = not self.is_paused
        elif key in ("n", "."):
            self.is_paused, self._num_steps = True, self._num_steps + 1
        elif key in ("+", "=", "[+]"):
            self.speed = min(FASTEST, 2 * self.speed)
        elif key in ("-", "[-]"):
            self.speed = max(SLOWEST, self.speed / 2)
        elif key in TAKEN and not self.is_human:
            self.absent ^= {TAKEN[key]}
        elif self.is_human and (key in ARROWS or _fire(key) or self._action_of(key) is not None):
            self._held.append(key)
            self._num_steps += self.is_paused and self.action() is not None

    def release(self, key: str) -> None:
        """Take in that a key is not held any more."""
        self._held = [one for one in self._held if one != key]

    def takes_step(self) -> bool:
        """Whether the next decision is due; of a pause, one for each time that it was asked for."""
        if not self.is_paused:
            return True
        is_due = self._num_steps > 0
        self._num_steps -= is_due
        return is_due

    def action(self) -> int | None:
        """Return the action of the keys that are held, None where that is none."""
        digits = [key for key in self._held if key.isdigit()]
        if digits:
            return self._action_of(digits[-1])
        wanted = {ARROWS[key] for key in self._held if key in ARROWS} | ({"FIRE"} & {*map(_fire, self._held)})
        if wanted:
            return self._best(wanted)
        idle = (number for number, name in enumerate(self.action_names) if name.upper() in IDLE)
        return next(idle, None)

    def _action_of(self, key: str) -> int | None:
        """Return what a key alone does."""
        if key.isdigit():
            number = (int(key) - 1) % 10
            return number if number < len(self.action_names) else None
        wanted = {ARROWS[key]} if key in ARROWS else {"FIRE"} & {_fire(key)}
        return self._best(wanted) if wanted else None

    def _best(self, wanted: set[str]) -> int | None:
        """Return the action that does most of what is wanted, and nothing else."""
        parts = [_parts(name) for name in self.action_names]
        fitting = [number for number, part in enumerate(parts) if part and part <= wanted]
        return max(fitting, key=lambda number: len(parts[number]), default=None)

    def told(self) -> str:
        """Return what is set, for the line below the picture."""
        words = ["paused" if self.is_paused else f"speed {self.speed:g} x"]
        names = {VIDEO: "video", AUDIO: "audio"}
        words += [f"{names[one]} taken away" for one in sorted(self.absent)]
        if self.is_human:
            words += [f"{number} {name}" for number, name in enumerate(self.action_names[:9], start=1)]
        return " · ".join(words)

    def help(self) -> str:
        """Return which keys there are."""
        if self.is_human:
            return "arrows, space, 1-9 act · P pause · N step · + - speed · Q quit"
        return "P pause · N step · + - speed · V video · A audio · Q quit"


def _fire(key: str) -> str:
    return "FIRE" if key == "space" else ""


def _parts(name: str) -> set[str]:
    """Return the directions and the button in an action's name; empty where it holds anything else."""
    words = name.upper().split("+") if "+" in name else re.findall(r"UP|DOWN|LEFT|RIGHT|FIRE", name.upper())
    words = words if "+" in name or "".join(words) == name.upper() else [name.upper()]
    parts = {"FIRE" if word in FIRE else word for word in words}
    return parts if parts <= {*ARROWS.values(), "FIRE"} else set()
