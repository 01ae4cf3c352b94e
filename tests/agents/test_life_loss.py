"""A lost life that ends what is learned and not the game: by hand, in a game, stopped and resumed."""

import io
from dataclasses import replace

import numpy as np
import pytest
from lives_world import LIFE, LIVES, STEPS, Lives
from rich.console import Console

import spl
from spl.agents.collectors.progress import Progress
from spl.agents.conditions import UNTOUCHED
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.playing import play
from spl.agents.evaluation.sureness import played_choices
from spl.agents.exploration import ModalityDropout
from spl.agents.load import load_agent
from spl.agents.loop import Collector
from spl.agents.pretraining import RandomAgent
from spl.agents.replay.memory import ReplayMemory
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.envs.resumable import reset_seed
from spl.envs.vector import VectorisedEnv
from spl.runs import checkpoint

WORLD = "tests.lives_world:Lives"
TOTAL = sum(range(1, STEPS + 1))
BREAKOUT = "ALE/Breakout-v5"


def quiet():
    return Console(file=io.StringIO())


def collected(env_id, num_steps, *, ends, n_step=1, num_envs=1, is_apart=False):
    """Return what a random agent collects, and its memory."""
    config = EnvConfig(id=env_id, video_size=(36, 36), num_mels=8, audio_frames=2)
    envs = VectorisedEnv(config, num_envs=num_envs, seed=5, is_apart=is_apart, timeout_s=None)
    memory = ReplayMemory(envs.spec_of_streams, 2_000, num_envs=num_envs, history=2, n_step=n_step, gamma=0.5)
    draws = np.random.default_rng(0)
    collector = Collector(
        RandomAgent(envs.action_sizes, draws),
        envs,
        memory,
        Progress(),
        epsilon_at=lambda step: 1.0,
        dropout=ModalityDropout(0.0, 1.0, draws, num_envs=num_envs),
        keep_reward=float,
        ends_at_life_loss=ends,
    )
    collector.begin(envs.start().begun)
    steps = [collector.step() for _ in range(num_steps)]
    envs.close()
    return steps, memory


@pytest.mark.parametrize("is_apart", [False, True], ids=["here", "apart"])
def test_each_life_is_learned_by_itself_and_the_returns_are_those_of_whole_episodes(is_apart):
    steps, memory = collected(WORLD, 2 * STEPS, ends=True, num_envs=2, is_apart=is_apart)
    ends = [[one.terminated for one in step.transitions] for step in steps]
    assert ends == [[(at + 1) % LIFE == 0] * 2 for at in range(2 * STEPS)]
    assert not any(one.truncated for step in steps for one in step.transitions)
    assert [list(step.episodes) for step in steps if step.episodes] == [[(TOTAL, STEPS)] * 2] * 2
    slots, envs = memory.indices()
    assert len(slots) == 4 * STEPS, "every transition can be sampled"
    ages = memory.fields.age[slots[envs == 0], 0]
    assert ages.tolist() == [*range(LIFE)] * 2 * LIVES
    batch = memory.gather(slots[envs == 0], envs[envs == 0])
    assert batch.discount.tolist() == [0.5, 0.5, 0.5, 0.0] * 2 * LIVES
    first = batch.video[LIFE]  # of the second life: nothing of the first is in its stack
    assert (first[0] == 0).all()
    assert (first[1] == LIFE).all()


def test_several_steps_do_not_reach_beyond_a_life():
    _, memory = collected(WORLD, STEPS, ends=True, n_step=3)
    batch = memory.gather(*memory.indices())
    # r + r'/2 + r''/4 of the rewards 1 to 4 of the first life, and 0.5 ** 3 of what follows, if anything does
    assert batch.reward[:LIFE].tolist() == [1 + 1 + 0.75, 2 + 1.5 + 1, 3 + 2, 4]
    assert batch.discount[:LIFE].tolist() == [0.125, 0.0, 0.0, 0.0]


def test_without_the_option_the_game_alone_ends():
    steps, memory = collected(WORLD, STEPS, ends=False)
    assert [one.terminated for step in steps for one in step.transitions] == [False] * (STEPS - 1) + [True]
    assert memory.written == (STEPS + 2,), "the first observation, and that of the next episode"


def test_the_lives_of_a_game_of_ale():
    pytest.importorskip("ale_py")
    num_steps = 250
    steps, _ = collected(BREAKOUT, num_steps, ends=True)
    actions = [step.transitions[0].action for step in steps]
    ends = [at for at, step in enumerate(steps) if step.transitions[0].terminated]
    env = make_env(EnvConfig(id=BREAKOUT, video_size=(36, 36), num_mels=8, audio_frames=2))
    lives, expected, num_games = env.reset(seed=reset_seed(5, 0))[1]["lives"], [], 0
    for at, action in enumerate(actions):
        *_, terminated, truncated, info = env.step(action)
        if terminated or info["lives"] < lives:
            expected.append(at)
        lives = info["lives"]
        if terminated or truncated:
            lives, num_games = env.reset()[1]["lives"], num_games + 1
    env.close()
    assert ends == expected
    assert len(ends) >= 5 * num_games > 0
    assert sum(len(step.episodes) for step in steps) == num_games


def test_a_run_stopped_amid_a_game_goes_on_with_its_lives_to_the_bit(smoke):
    words = ("--env", WORLD, "--agent.terminal_on_life_loss", "true", "--agent.n_step", "2")
    config = smoke(*words, "--num_steps", "110", "--agent.thirds", "none")
    whole, folder = train_agent(config, console=quiet()).folder, None
    for num_steps in (53, 71, 110):  # within the second life, and the last
        folder = train_agent(replace(config, num_steps=num_steps), resume=folder, console=quiet()).folder
    memories = [ReplayMemory.load(run / "memory") for run in (whole, folder)]
    one, two = (memory.gather(*memory.indices()) for memory in memories)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert int((one.discount == 0).sum()) == 110 // LIFE
    weights = [checkpoint.load(run / "checkpoints")["agent"]["network"] for run in (whole, folder)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    result = evaluate_agent(
        whole, EvaluateAgentConfig(num_episodes=1, num_seeds=1, device="cpu"), console=quiet()
    )
    assert next(iter(result["conditions"].values()))["mean"] == TOTAL, "a game is judged to its end"


def test_an_environment_that_tells_no_lives_is_refused_before_there_is_a_folder(smoke, tmp_path):
    sentence = (
        r"^agent\.terminal_on_life_loss needs info\['lives'\], which spl/Beacon-v0 lacks: set it to false$"
    )
    with pytest.raises(UsageError, match=sentence):
        train_agent(smoke("--agent.terminal_on_life_loss", "true"), console=quiet())
    assert not any(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("each_life", [True, False])
def test_stacks_begin_with_a_life_while_it_is_judged_where_they_did_in_training(each_life):
    config = EnvConfig(id=WORLD, video_size=(36, 36))
    env = make_env(config)
    env.begins_at_life_loss = each_life
    seen = []

    def policy(stacks, envs, running):
        seen.append(stacks.stack().video[0, :, 0, 0, 0].tolist())
        return [0]

    play(policy, [env], UNTOUCHED, history=2, seed=0)
    rolling = [[max(0, at - 1), at] for at in range(STEPS)]
    begun = [[0, at] if at % LIFE == 0 else stack for at, stack in enumerate(rolling)]
    assert seen == (begun if each_life else rolling)


@pytest.mark.parametrize("each_life", ["true", "false"])
def test_a_trained_agent_begins_with_each_life_where_it_learned_so(smoke, each_life):
    config = smoke("--env", WORLD, "--agent.terminal_on_life_loss", each_life, "--num_steps", "40")
    run = train_agent(replace(config, evaluate_every_steps=20), console=quiet()).folder
    _, make, *_ = load_agent(run, "cpu")
    assert make().begins_at_life_loss == (each_life == "true")
    agent, env = spl.load(run), Lives()
    observation, info = env.reset()
    stacks = []
    for _ in range(STEPS):
        action = agent.act(observation, info)
        stacks.append(agent.stack.video[0, :, 0, 0, 0].tolist())
        observation, _, _, _, info = env.step(action)
    assert stacks[LIFE - 1][-2:] == [LIFE - 2, LIFE - 1]
    assert stacks[LIFE][-2:] == [0 if each_life == "true" else LIFE - 1, LIFE]


@pytest.mark.parametrize("each_life", ["true", "false"])
def test_what_follows_a_lost_life_is_looked_at_only_where_it_was_learned(smoke, each_life):
    config = smoke("--env", WORLD, "--agent.terminal_on_life_loss", each_life, "--num_steps", "40")
    agent, make, history, _ = load_agent(train_agent(config, console=quiet()).folder, "cpu")
    env = make()
    found = played_choices(agent, env, history=history, seed=3, num_episodes=1)
    follows = [
        (target - agent.config.kept_reward(at + 1.0)) / agent.config.gamma
        for at, target in enumerate(found.targets)
    ]
    ends = {LIFE - 1, 2 * LIFE - 1, STEPS - 1} if each_life == "true" else {STEPS - 1}
    expected = [0.0 if at in ends else found.values[at + 1] for at in range(STEPS - 1)] + [0.0]
    assert follows == pytest.approx(expected, abs=1e-5)
    assert 0.0 not in found.values
