"""The beacon world: the direction is seen or heard; with an oracle and a known best return."""

from spl.envs.worlds.base import AudioVisualWorld, Scenery
from spl.envs.worlds.drawing import beacon_pictures, beacon_tones


class BeaconEnv(AudioVisualWorld):
    """Name the direction (0 up, 1 right, 2 down, 3 left) of a beacon that moves at every step: 1 if right.

    The best return is ``num_rounds``, chance gives a quarter of it. It terminates after the last round.

    Args:
        sense: what tells the direction. ``eye``: a blob on that side, and a tone that means nothing.
            ``ear``: one of ``scenery.TONES_HZ``, and a blob that means nothing. ``both``: the blob lies right
            for an odd direction, else left, and the tone is high for 2 and 3, else low; one modality gets
            half. ``either``: blob and tone both tell the direction, so that one modality gets all.
        num_rounds: steps in an episode, positive.

    Raises:
        ValueError: if ``sense``, ``num_rounds`` or ``render_mode`` is not one of the above.
    """

    SENSES = ("eye", "ear", "both", "either")

    def __init__(self, sense: str = "both", num_rounds: int = 32, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if sense not in self.SENSES:
            raise ValueError(f"sense must be one of {', '.join(self.SENSES)}, got {sense!r}")
        if num_rounds < 1:
            raise ValueError(f"num_rounds must be at least 1, got {num_rounds}")
        self.sense, self.num_rounds = sense, num_rounds
        self._round = self._direction = self._decoy = 0

    def get_action_meanings(self) -> list[str]:
        """Return the four directions."""
        return ["UP", "RIGHT", "DOWN", "LEFT"]

    @property
    def best_return(self) -> float:
        """``num_rounds``: the oracle is right every time."""
        return float(self.num_rounds)

    def best_return_of(self, modality: str) -> float:
        """Return the best expected return by ``video`` or ``audio`` alone: all, half or a quarter, exact."""
        told = {"video": ("eye", "either"), "audio": ("ear", "either")}
        if modality not in told:
            raise ValueError(f"modality must be video or audio, got {modality!r}")
        share = 1.0 if self.sense in told[modality] else 0.5 if self.sense == "both" else 0.25
        return share * self.num_rounds

    def oracle_action(self) -> int:
        """Return the beacon's direction."""
        return self._direction

    def _begin(self) -> None:
        self._round = 0
        self._place_beacon()

    def _advance(self, action: int) -> tuple[float, bool]:
        reward = float(action == self._direction)
        self._round += 1
        self._place_beacon()
        return reward, self._round == self.num_rounds

    def _place_beacon(self) -> None:
        self._direction, self._decoy = self.np_random.integers(4, size=2).tolist()

    def _scenery(self) -> Scenery:
        side, tone = {
            "eye": (self._direction, self._decoy),
            "ear": (self._decoy, self._direction),
            "both": (1 if self._direction % 2 else 3, 3 if self._direction >= 2 else 0),
            "either": (self._direction, self._direction),
        }[self.sense]
        return beacon_pictures()[side], beacon_tones()[tone]
