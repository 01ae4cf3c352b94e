"""How often an agent's sentences name the right modality, in worlds where the right one is known exactly.

A modality is right for a decision where the chosen action is best, and would not be had that modality told
something else: another direction in ``spl/Beacon-v0``; in ``spl/Greeting-v0``, while a person stands,
another pose or the other voice, by the exact action values. Decisions that no modality or several are right
for are counted apart; so are those that are not best, of which no truth is known. Beside it, how often the
place on the picture is that of Beacon's blob, where a sentence names one (``sense=eye``).
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spl.ablation.tables import as_table
from spl.agents.conditions import UNTOUCHED
from spl.agents.evaluation.choice import played_moments
from spl.agents.evaluation.decision import reason_of
from spl.agents.evaluation.playing import play
from spl.agents.load import load_agent
from spl.envs.worlds.greeting_optimum import visit_action_values
from spl.envs.worlds.greeting_rules import STANDING
from spl.explain.words import sentence

CLOSE = 1e-9  # of action values that are alike
SENSES = {"eye": ("video",), "ear": ("audio",), "both": ("video", "audio")}
SIDES = ("top", "right", "bottom", "left")  # of Beacon's blob, by direction


def right_in_greeting(world: Any, action: int) -> tuple[str, ...] | None:
    """Return the modalities that are right for an action in the world's state; None: it is not best."""
    values = visit_action_values()[world._clock]  # (8, 2, 4)

    def is_best(scene: int, voice: int) -> bool:
        return bool(values[scene, voice, action] >= values[scene, voice].max() - CLOSE)

    scene, voice = int(world._scene), int(world._is_greeting)
    if not is_best(scene, voice):
        return None
    if scene not in STANDING:
        return ()
    by_video = not all(is_best(int(other), voice) for other in STANDING)
    by_audio = not is_best(scene, 1 - voice)
    return tuple(name for name, by in (("video", by_video), ("audio", by_audio)) if by)


def right_in_beacon(world: Any, action: int) -> tuple[str, ...] | None:
    """Return the modalities that are right for an action in the world's state; None: it is not best."""
    return SENSES.get(world.sense, ()) if action == world._direction else None


WORLDS: dict[str, Callable[[Any, int], tuple[str, ...] | None]] = {
    "BeaconEnv": right_in_beacon,
    "GreetingEnv": right_in_greeting,
}


def count(run: Path, num_episodes: int) -> Counter[str]:
    """Return how often what was the case in the decisions of some episodes of a run's agent."""
    agent, make, history, _ = load_agent(run, "cpu")
    moments = played_moments(agent, make, history, seed=2_000_000)
    env, found = make(), Counter[str]()
    world = env.unwrapped
    right_of = WORLDS[type(world).__name__]

    def policy(stacks: Any, envs: Any, running: list[int]) -> list[int]:
        reason = reason_of(agent, stacks.stack(running), moments, with_maps=False, with_words=True)
        found["decisions"] += 1
        assert reason.evidence is not None
        tally(found, right_of(world, reason.action), reason.evidence.named)
        if getattr(world, "sense", None) == "eye" and reason.evidence.named[:1] == ("video",):
            place = sentence("", reason.evidence).partition(";")[0].partition("from the ")[2]
            found["places"] += bool(place)
            found["right places"] += SIDES[world._direction] in place
        return [reason.action]

    for number in range(num_episodes):
        play(policy, [env], UNTOUCHED, history=history, seed=1_000_000 + number)
    env.close()
    return found


def tally(found: Counter[str], right: tuple[str, ...] | None, named: tuple[str, ...]) -> None:
    """Count a decision under what is right for it, and under whether its sentence says so."""
    if right is None:
        found["not best"] += 1
    elif len(right) == 1:
        found["one"] += 1
        found["one, first"] += named[:1] == right
        found["one, alone"] += named == right
    elif right:
        found["both"] += 1
        found["both, named"] += set(named) == set(right)
    else:
        found["none"] += 1


def share(found: Counter[str], part: str, whole: str) -> str:
    return f"{100 * found[part] / found[whole]:.1f}" if found[whole] else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="of spl train agent, in Beacon or Greeting")
    parser.add_argument("--num_episodes", type=int, default=20, help="of each run")
    words = parser.parse_args()
    np.seterr(all="raise")
    rows = []
    for run in words.runs:
        found = count(run, words.num_episodes)
        rows.append(
            [
                run.name,
                *(f"{found[name]:,}" for name in ("decisions", "one")),
                share(found, "one, first", "one"),
                share(found, "one, alone", "one"),
                f"{found['both']:,}",
                share(found, "both, named", "both"),
                *(f"{found[name]:,}" for name in ("none", "not best")),
                share(found, "right places", "places"),
            ]
        )
    columns = ["run", "decisions", "one is right", "named first %", "named alone %"]
    columns += ["both are right", "both named %", "none", "not best", "right place %"]
    print("\n".join(as_table(columns, rows)))


if __name__ == "__main__":
    main()
