"""Old and short names of ALE's games."""

import importlib.util

import pytest

from spl.envs.atari_names import NAMES, ale_id
from spl.envs.registry import ale_games


@pytest.mark.parametrize(
    "name",
    [
        *("PongNoFrameskip-v4", "PongDeterministic-v4", "Pong-ram-v5", "Pong-ramNoFrameskip-v4", "Pong-v0"),
        *("Pong-v5", "pong", "Pong", "PONG", "ALE/Pong", "ALE/Pong-v4", "ALE/Pong-ram-v5", "atari/pong"),
        *("atari_pong", "ale:Pong-v5", "ALE/Pnog-v5", "PnogNoFrameskip-v4"),
    ],
)
def test_a_name_of_then_means_the_game_of_now(name):
    assert ale_id(name) == "ALE/Pong-v5"


def test_words_may_be_joined_in_any_way():
    for name in ("space_invaders", "SpaceInvadersNoFrameskip-v4", "Space-Invaders", "spaceinvaders-v5"):
        assert ale_id(name) == "ALE/SpaceInvaders-v5"
    assert ale_id("MontezumaRevenge-ram-v0") == "ALE/MontezumaRevenge-v5"
    assert ale_id("Pitfall2-v5") == "ALE/Pitfall2-v5"


@pytest.mark.parametrize(
    "name", ["spl/Beacon-v0", "CartPole-v1", "Ponk", "VizdoomBasicAudio-v1", "", "my:Pong"]
)
def test_other_names_mean_no_game(name):
    assert ale_id(name) is None


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="needs ale-py")
def test_the_names_are_those_of_ale():
    assert ale_games() == sorted(NAMES.split())
