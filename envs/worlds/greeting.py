"""The greeting world: whom to greet is seen and heard; with an oracle and a known best return."""

from spl.envs.worlds.base import AudioVisualWorld, Scenery
from spl.envs.worlds.drawing import greeting_pictures, greeting_sounds
from spl.envs.worlds.greeting_optimum import Modality, best_visit_return, visit_action_values
from spl.envs.worlds.greeting_rules import (
    GREETING_PROBABILITY,
    STANDING,
    VISIT_STEPS,
    Act,
    Scene,
    visit_outcome,
)


class GreetingEnv(AudioVisualWorld):
    """A robot earns handshakes from visitors: +1 for one that is taken, -0.1 for one that is refused.

    A visit has 18 steps: the empty room, a person coming (2), standing (at most 12), leaving (2), and the
    empty room again. A hand is taken only while it is held out, which is seen, and the person greets the
    robot rather than talks to somebody else, which is heard. While the person stands, the picture does not
    depend on the voice nor the sound on the pose. `greeting_rules` has the rules. The
    episode terminates after the last visit, when the robot's shift is over.

    With six visits the best return is 5.88. By video alone it is 2.04, with a memory of the visit or without.
    By audio alone it is 4.78, but only by counting steps since the footsteps and remembering what was done:
    look three times, then wave, and shake at a greeting once a hand is likely; without memory it is 0
    (:meth:`best_return_of`, all exact).

    Args:
        num_visits: visits in an episode, positive.

    Raises:
        ValueError: if ``num_visits`` or ``render_mode`` is not one of the above.

    Source: Qureshi et al. (2016), Robot gains social intelligence through multimodal deep reinforcement
    learning. Differs: their people are real and the second stream is depth; ours are a small Markov process
    and the second stream is sound.
    """

    def __init__(self, num_visits: int = 6, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if num_visits < 1:
            raise ValueError(f"num_visits must be at least 1, got {num_visits}")
        self.num_visits = num_visits
        self._begin()

    def get_action_meanings(self) -> list[str]:
        """Return the four acts."""
        return [act.name for act in Act]

    @property
    def best_return(self) -> float:
        """``num_visits`` times the value of one visit, exact up to rounding."""
        return float(self.num_visits * visit_action_values()[0, Scene.EMPTY, 0].max())

    def best_return_of(self, modality: Modality, *, has_memory: bool) -> float:
        """Return the best expected return by one modality alone, exact: see `best_visit_return`.

        Memory is of the visit under way; the visits before say nothing about it.

        Raises:
            ValueError: if ``modality`` is neither ``video`` nor ``audio``.
        """
        return self.num_visits * best_visit_return(modality, has_memory=has_memory)

    def oracle_action(self) -> int:
        """Return the first of the best actions for the true clock, scene and voice."""
        return int(visit_action_values()[self._clock, self._scene, int(self._is_greeting)].argmax())

    def _begin(self) -> None:
        self._visit = self._clock = 0
        self._scene, self._is_greeting = Scene.EMPTY, False

    def _advance(self, action: int) -> tuple[float, bool]:
        reward, follower, p = visit_outcome(self._clock, self._scene, self._is_greeting, action)
        scene_draw, voice_draw = self.np_random.random(2).tolist()
        self._scene = follower if scene_draw < p else self._scene
        self._is_greeting = self._scene in STANDING and voice_draw < GREETING_PROBABILITY
        num_visits_over, self._clock = divmod(self._clock + 1, VISIT_STEPS)
        self._visit += num_visits_over
        return reward, self._visit == self.num_visits

    def _scenery(self) -> Scenery:
        voice = "talking" if self._scene in STANDING else self._scene.name
        return greeting_pictures()[self._scene], greeting_sounds()["greeting" if self._is_greeting else voice]
