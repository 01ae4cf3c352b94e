"""A trained agent in the user's own loop: equal to an evaluation, action for action."""

import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from rich.console import Console

import spl
import spl.envs
from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.evaluation.playing import play, policy_of
from spl.agents.load import load_agent
from spl.agents.monitor.fitted import save_usual
from spl.agents.monitor.monitor import Fitting, ModalityMonitor, Usual
from spl.agents.sharing.export import export_agent
from spl.config import parse as config
from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.given import Cutter
from spl.envs.resumable import reset_seed
from spl.envs.wrapping import wrap
from spl.records import AUDIO, VIDEO
from spl.runs.directory import generator_of

SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "agent.yaml"
SEED = 3


@pytest.fixture(scope="module", params=["plain", "skipping"])
def run(request, tmp_path_factory) -> Path:
    """Return a run on Beacon, once with every action for three frames of a waveform."""
    words = ["--config", str(SMOKE), "--runs", str(tmp_path_factory.mktemp("runs"))]
    words += ["--num_steps", "44", "--num_threads", "1", "--device", "cpu"]
    words += ["--env.kwargs.num_rounds", "10", "--env.video_size", "36,36", "--agent.learning_rate", "0.01"]
    if request.param == "skipping":
        words += ["--env.frame_skip", "3", "--env.max_pool", "true"]
        words += ["--env.audio_features", "waveform", "--encoder.audio_stream", "mlp"]
    chosen = config.parse(spl.TrainAgentConfig, words, prog="spl")
    return spl.train_agent(chosen, console=Console(quiet=True)).folder


def evaluated(run: Path, epsilon: float = 0.0, condition: Condition = UNTOUCHED, watch=None):
    """Return decisions and return of an episode as ``spl evaluate agent`` plays it, and the raw actions."""
    agent, make, history, _ = load_agent(run, "cpu")
    agent.generator, actions, values = generator_of(SEED, "all modalities"), [], []
    env = make()
    step, decide = env.env.step, policy_of(agent, epsilon)

    def noted(action):
        actions.append(int(action))
        return step(action)

    def policy(stacks, envs, running):
        values.append(agent.network(*stacks.stack(running)).tolist()[0])
        return decide(stacks, envs, running)

    env.env.step = noted
    with torch.inference_mode():
        totals, _ = play(policy, [env], condition, history=history, seed=SEED, watch=watch)
    return actions, values, totals[0]


def own_loop(run: Path, epsilon: float = 0.0, change=lambda observation: observation):
    """Return the same of the loop that a user writes, in an environment that knows nothing of ours."""
    agent = spl.load(run, device="cpu", seed=SEED)
    env = gymnasium.make("spl/Beacon-v0", num_rounds=10)
    for episode in range(2):  # the second episode equals the first: a reset forgets all
        actions, values, total, is_over = [], [], 0.0, False
        agent.reset()
        agent.dqn.generator = generator_of(SEED, "all modalities")
        observation, _ = env.reset(seed=reset_seed(SEED, 0))
        while not is_over:
            actions.append(agent.act(change(observation), epsilon=epsilon))
            if len(actions) % agent.cutter.frame_skip == 1 % agent.cutter.frame_skip:
                values.append(agent.q_values.tolist())
            observation, reward, terminated, truncated, _ = env.step(actions[-1])
            total, is_over = total + reward, terminated or truncated
        if episode == 0:
            first = actions, values, total
    assert (actions, values, total) == first
    return first


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_a_loaded_agent_acts_as_an_evaluation_does(run, epsilon):
    actions, values, total = own_loop(run, epsilon)
    assert (actions, values, total) == evaluated(run, epsilon)
    assert len(actions) == 10
    assert len({tuple(one) for one in values}) > 2, "it decides on what it gets"


def test_an_environment_may_reuse_the_arrays_of_its_observations(run):
    kept = {}

    def written_over(observation):
        for key, part in observation.items():
            np.copyto(kept.setdefault(key, np.array(part)), part)
        return kept

    assert own_loop(run, change=written_over) == evaluated(run)


@pytest.mark.parametrize("modality", [VIDEO, AUDIO])
def test_what_is_missing_or_none_is_flagged_absent(run, modality):
    told = evaluated(run, condition=Condition(modality, "absent"))
    key = spl.load(run, device="cpu").cutter.adapter.streams[modality].key
    assert own_loop(run, change=lambda seen: {k: v for k, v in seen.items() if k != key}) == told
    assert own_loop(run, change=lambda seen: {**seen, key: None}) == told
    assert own_loop(run)[1] != told[1]


@pytest.fixture
def usual(run) -> Usual:
    """Return what is usual for the run's agent, which its folder has from then on."""
    agent, make, history, step = load_agent(run, "cpu")
    fitting, env = Fitting(), make()
    with torch.inference_mode():
        for seed in range(20):
            play(policy_of(agent, 1.0), [env], UNTOUCHED, history=history, seed=seed, watch=fitting)
    save_usual(run, fitting.usual(), step)
    return fitting.usual()


def test_a_monitor_takes_a_frozen_camera_from_the_agent(run, usual):
    agent = spl.load(run, device="cpu", seed=SEED, monitor=True)
    skip, key = agent.cutter.frame_skip, agent.cutter.adapter.streams[VIDEO].key
    env = gymnasium.make("spl/Beacon-v0", num_rounds=10)
    last = 2 if skip == 1 else 0  # frame that is shown from then on
    for _ in range(2):  # a reset forgets what failed
        agent.reset()
        assert agent.failed == ()
        agent.dqn.generator = generator_of(SEED, "all modalities")
        observation, _ = env.reset(seed=reset_seed(SEED, 0))
        actions, failed, shown = [], [], observation[key]
        for frame in range(10):
            shown = observation[key] if frame <= last else shown
            actions.append(agent.act({**observation, key: shown}))
            failed.append(agent.failed)
            observation, *_ = env.step(actions[-1])
        assert failed[0] == ()
        assert failed[-1] == ("video",)
        assert agent.stack.present.tolist() == [[False, True]]
    if skip == 1:
        frozen = Condition(VIDEO, "frozen", 3)
        assert actions == evaluated(run, condition=frozen, watch=ModalityMonitor(usual))[0]
    assert spl.load(run, device="cpu").failed == (), "without a monitor all are trusted"


def test_a_bundle_takes_the_monitor_along(run, usual, tmp_path):
    bundle = export_agent(run, to="bundle", out=str(tmp_path / "bundle"))
    there = spl.load(bundle, device="cpu", monitor=True).monitor
    assert there is not None
    np.testing.assert_array_equal(there.usual.low, usual.low)
    shutil.rmtree(bundle / "monitor")
    with pytest.raises(UsageError, match="has no monitor yet: fit it with: spl evaluate agent"):
        spl.load(bundle, device="cpu", monitor=True)


def test_values_are_those_of_the_newest_decision(run):
    agent = spl.load(str(run), device="cpu")
    with pytest.raises(ValueError, match="no Q-values before the first act"):
        _ = agent.q_values
    env = gymnasium.make("spl/Beacon-v0")
    observation, _ = env.reset(seed=0)
    action = agent.act(observation)
    assert agent.q_values.shape == (4,)
    assert agent.q_values.argmax() == action
    assert agent.stack.present.tolist() == [[True, True]]
    agent.reset()
    with pytest.raises(ValueError, match="no Q-values"):
        _ = agent.q_values


def test_what_cannot_be_acted_on_is_refused_in_a_sentence(run, tmp_path):
    agent = spl.load(run, device="cpu")
    observation, _ = gymnasium.make("spl/Beacon-v0").reset(seed=0)
    video, audio = (stream.key for stream in agent.cutter.adapter.streams[:2])
    with pytest.raises(ValueError, match=r"the observation must hold .* or .*, got the keys 'smell'"):
        agent.act({"smell": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"the video must be uint8 of shape .*, got uint8 of shape \(8, 8, 3\)"
    ):
        agent.act({**observation, video: np.zeros((8, 8, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"the audio must be .* of shape .*, got float32 of shape \(5,\)"):
        agent.act({**observation, audio: np.zeros(5, np.float32)})
    with pytest.raises(ValueError, match=r"epsilon must be in 0..1, got 2"):
        agent.act(observation, epsilon=2)
    assert agent.act(observation) in range(4), "a refused observation leaves no trace"
    with pytest.raises(UsageError, match="has no best checkpoint: train it with --evaluate_every_steps"):
        spl.load(run, checkpoint="best")
    with pytest.raises(UsageError, match="is not a run directory"):
        spl.load(tmp_path)


class Uneven(gymnasium.Env):
    """Has chunks of which only a part sounds, as its info tells."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (200,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    sample_rate_hz = 8_000


def test_info_and_wrappers_reach_the_adapter():
    world = Uneven()
    wrappers = [{"gymnasium.wrappers:TimeLimit": {"max_episode_steps": 3}}]
    cutters = [Cutter(AudioVisualEnv(world, spl.EnvConfig(id="uneven", wrappers=wrappers))) for _ in range(2)]
    noise = np.random.default_rng(0).uniform(-1, 1, 200).astype(np.float32)
    short, whole = (
        cutter.first((noise, info)).audio
        for cutter, info in zip(cutters, [{"audio_samples": 80}, {}], strict=True)
    )
    assert (short != whole).any()
    wrapped = wrap(world, cutters[0].adapter.config)
    assert isinstance(wrapped.env, gymnasium.wrappers.TimeLimit)


def test_a_key_that_is_likely_a_slip_is_told(run: Path):
    agent, env = spl.load(run, device="cpu"), gymnasium.make("spl/Beacon-v0", num_rounds=10)
    observation = dict(env.reset(seed=0)[0])
    agent.act({**observation, "lidar": np.zeros(3)})  # beside all that it needs
    observation["vido"] = observation.pop("video")
    agent.reset()
    with pytest.raises(ValueError, match="lacks 'video' and has 'vido', which the environment has not"):
        agent.act(observation)


@pytest.mark.parametrize("checkpoint", ["bset", 300, None])
def test_a_checkpoint_that_there_cannot_be_is_told(run: Path, checkpoint):
    with pytest.raises(UsageError, match=r"checkpoint must be 'last' or 'best', got"):
        spl.load(run, checkpoint=checkpoint)
