"""What an environment calls its actions. Drawing and sentences are not here."""

from itertools import accumulate

from spl.envs.actions import numbers_of
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import declared_by
from spl.records import Action


class ActionNames:
    """The environment's names of its actions, else their numbers; of a Box the values.

    An environment with several dimensions may name these, by ``get_action_meanings`` or by its ``buttons``.

    Args:
        env: asked for them.
    """

    def __init__(self, env: AudioVisualEnv) -> None:
        sizes = env.action_sizes
        self._starts = [0, *accumulate(sizes[:-1])]
        names = _declared(env)
        if len(names) == sum(sizes):
            self.labels = names  # (A,), of each value of each dimension
        else:
            self.labels = env.actions.labels(names if len(names) == len(sizes) else None)

    def places(self, action: Action) -> tuple[int, ...]:
        """Return where among the labels, and among the Q-values ``(A,)``, those of an action are."""
        return tuple(start + number for start, number in zip(self._starts, numbers_of(action), strict=True))

    def of(self, action: Action) -> str:
        """Return the name of a whole action: ``gas +1, brake +0``."""
        return ", ".join(self.labels[place] for place in self.places(action))


def _declared(env: AudioVisualEnv) -> list[str]:
    tell = declared_by(env, "get_action_meanings")
    names = declared_by(env, "buttons") if tell is None else tell()
    return [str(name) for name in names] if isinstance(names, list | tuple) else []
