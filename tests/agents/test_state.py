"""An agent with a state vector: its statistics by hand, where it joins, learning, saving and resuming."""

import copy
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from brought_worlds import Robot
from rich.console import Console

import spl
from spl.agents.config import TrainAgentConfig, build_agent, read_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.choice import played_moments
from spl.agents.evaluation.decision import reason_of
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
from spl.agents.film.command import film
from spl.agents.film.config import FilmConfig
from spl.agents.history import History
from spl.agents.load import load_agent
from spl.agents.q_network.state_norm import RunningNorm, StateStream
from spl.agents.replay.memory import ReplayMemory
from spl.agents.sharing.export import export_agent
from spl.agents.sharing.portable import Portable
from spl.agents.train import train_agent
from spl.agents.trained import TrainedAgent
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.envs.adapter import AudioVisualEnv
from spl.envs.config import EnvConfig
from spl.records import Observation, StreamSpec
from spl.runs import checkpoint

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SPEC = StreamSpec((1, 36, 36), (1, 64, 8), state=3)
TINY = ("--memory.capacity", "200", "--memory.min_size", "20", "--agent.epsilon_decay_steps", "50")


def quiet() -> Console:
    return Console(quiet=True)


def observe(*state: float, spec: StreamSpec = SPEC) -> Observation:
    return Observation(
        np.full(spec.video, 5, np.uint8),
        np.full(spec.audio, 0.5, np.float16),
        np.array([spec.has_video, spec.has_audio]),
        np.array(state, np.float32),
    )


def player_of(path: Path) -> Any:
    found = importlib.util.spec_from_file_location("play_onnx", ROOT / "examples/play_onnx.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Player(str(path))


def stack_of(*state: float) -> Any:
    history = History(SPEC, history=2)
    history.push(observe(*state), is_first=True)
    return history.stack()


def test_the_running_statistics_by_hand() -> None:
    norm = RunningNorm(3)
    assert norm(torch.tensor([[5.0, -5.0, 0.0]])).tolist() == [[10.0, -10.0, 0.0]]  # nothing is known yet
    for state in ([1.0, 10.0, 7.0], [3.0, 10.0, 7.0], [8.0, 16.0, 7.0]):
        norm.update(torch.tensor(state))
    assert norm.mean.tolist() == pytest.approx([4.0, 12.0, 7.0])
    assert norm.squares.tolist() == pytest.approx([9.0 + 1 + 16, 4.0 + 4 + 16, 0.0])
    assert norm.count == 3
    variances = 26 / 3, 24 / 3
    found = norm(torch.tensor([[8.0, 10.0, 7.0], [1e6, -1e6, 7.1]]))
    assert found[0].tolist() == pytest.approx([4 / variances[0] ** 0.5, -2 / variances[1] ** 0.5, 0.0])
    assert found[1].tolist() == [10.0, -10.0, 10.0]  # clipped; what never changed is far off at once
    assert found.dtype == torch.float32


def test_large_numbers_that_differ_little_keep_their_variance() -> None:
    norm = RunningNorm(1)
    for value in (1e7, 1e7 + 1, 1e7 + 2):
        norm.update(torch.tensor([value]))
    assert (norm.squares / norm.count).item() == pytest.approx(2 / 3)


def test_what_a_state_adds_by_hand() -> None:
    stream = StateStream(2, 2, 1)
    stream.norm.update(torch.tensor([1.0, 0.0]))
    stream.norm.update(torch.tensor([3.0, 4.0]))  # means 2, 2; deviations 1, 2
    with torch.no_grad():
        stream.hidden.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        stream.hidden.bias.copy_(torch.tensor([0.0, 0.5]))
        stream.join.weight.copy_(torch.tensor([[2.0, 3.0]]))
    added = stream(torch.tensor([[4.0, 4.0], [1.0, 4.0]]))  # normalised (2, 1) and (-1, 1)
    assert added.flatten().tolist() == pytest.approx([2 * 3 + 3 * 1.5, 0.0])
    added.sum().backward()
    assert all(weight.grad is not None for weight in stream.parameters())


def agent_of(smoke: Any, *options: str, spec: StreamSpec = SPEC) -> MultimodalDqn:
    return build_agent(smoke("--memory.history", "2", *options), spec, (4,), CPU)


def test_one_agent_has_one_statistic_and_other_weights_are_those_without(smoke: Any) -> None:
    agent = agent_of(smoke, "--agent.precision", "bfloat16")
    plain = agent_of(smoke, spec=SPEC._replace(state=0)).network.state_dict()
    own = agent.network.state_dict()
    assert {*own} - {*plain} == {name for name in own if name.startswith("state.")}
    assert all(torch.equal(own[name], weight) for name, weight in plain.items())
    before = {name: weight.clone() for name, weight in agent.target.state_dict().items()}
    for number in range(5):
        agent.see(observe(number, 2 * number, 1))
    assert agent._low is not None
    assert agent.averaged is not None
    nets = [agent.network, agent.target, agent.averaged.network, agent._low[0].copied, agent._low[1].copied]
    assert len({id(net.state.norm) for net in nets}) == 1
    assert copy.deepcopy(agent.network.state).norm is agent.network.state.norm
    assert agent.target.state.norm.mean.tolist() == [2.0, 4.0, 1.0]
    now = agent.target.state_dict()
    assert {name for name in before if not torch.equal(before[name], now[name])} == {
        "state.norm.mean",
        "state.norm.squares",
        "state.norm.count",
    }


@pytest.mark.parametrize("options", [(), ("--agent.thirds", "none"), ("--agent.precision", "bfloat16")])
def test_every_view_reads_the_state_and_its_layers_learn(smoke: Any, options: tuple[str, ...]) -> None:
    agent = agent_of(smoke, *options)
    memory = ReplayMemory(SPEC, 40, history=2)
    memory.begin(observe(0, 0, 0))
    for number in range(1, 20):
        memory.add((None, number % 4, 1.0, number == 19, False, observe(number, -number, number % 3)))  # type: ignore[arg-type]
        agent.see(observe(number, -number, number % 3))
    batch = memory.gather(*memory.indices())
    losses = agent.losses(batch)
    losses.mean().backward()
    assert agent.network.state is not None
    assert all(weight.grad.abs().sum() > 0 for weight in agent.network.state.parameters())
    moved = batch._replace(state=batch.state + 5, next_state=batch.next_state + 5)
    assert (agent.losses(moved) != losses).all(), "in every view"
    values = [agent.network(*stack_of(*state)) for state in ((1.0, -1.0, 0.0), (9.0, -9.0, 2.0))]
    assert not torch.equal(*values)


def test_what_cannot_join_is_refused(smoke: Any) -> None:
    with pytest.raises(ValueError, match="fusion=mdqn has no joint code, where a state joins"):
        agent_of(smoke, "--agent.fusion", "mdqn", "--agent.dueling", "false")
    blind = StreamSpec((0, 0, 0), (0, 0, 0), state=3)
    with pytest.raises(ValueError, match="absent=zeros needs a picture or a sound"):
        agent_of(smoke, "--encoder.absent", "zeros", spec=blind)
    with pytest.raises(ValueError, match="state must have 3 numbers, got none"):
        agent_of(smoke).network(*stack_of(1.0, 2.0, 3.0)[:3])


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 120 steps of CartPole."""
    return train_agent(pole_config(tmp_path_factory.mktemp("pole"), 120), console=quiet()).folder


def pole_config(folder: Path, num_steps: int, *options: str) -> TrainAgentConfig:
    words = ["--env.id", "CartPole-v1", "--num_steps", f"{num_steps}", "--runs", str(folder), *TINY, *options]
    return parse(TrainAgentConfig, [*words, "--num_threads", "1", "--device", "cpu"], prog="spl")


def saved(run: Path) -> dict[str, Any]:
    return checkpoint.load(run / "checkpoints")


def test_an_agent_learns_on_a_state_alone_and_its_statistics_are_those_of_what_it_collected(
    pole: Path,
) -> None:
    state = saved(pole)["agent"]
    seen = np.load(pole / "memory" / "state.npy")[: ReplayMemory.load(pole / "memory").written[0], 0]
    count = int(state["network"]["state.norm.count"])
    assert count == len(seen)  # with each episode's first and last
    mean, squares = (state["network"][f"state.norm.{name}"].numpy() for name in ("mean", "squares"))
    np.testing.assert_allclose(mean, seen.mean(axis=0, dtype=np.float64), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(squares / count, seen.var(axis=0, dtype=np.float64), rtol=1e-9)
    assert torch.equal(state["target"]["state.norm.mean"], state["network"]["state.norm.mean"])
    assert state["num_updates"] > 0
    assert not (state["network"]["state.join.weight"] == state["target"]["state.join.weight"]).all()


def test_resuming_equals_not_having_stopped_and_evaluating_changes_no_statistics(
    pole: Path, tmp_path: Path
) -> None:
    cut = train_agent(pole_config(tmp_path, 70), console=quiet()).folder
    evaluate_agent(cut, EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu"), console=quiet())
    train_agent(pole_config(tmp_path, 120), resume=cut, console=quiet())
    one, two = saved(pole), saved(cut)
    for net in ("network", "target", "averaged"):
        for name, weight in one["agent"][net].items():
            assert torch.equal(weight, two["agent"][net][name]), (net, name)
    memories = [ReplayMemory.load(run / "memory") for run in (pole, cut)]
    batches = [memory.gather(*memory.indices()) for memory in memories]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_a_run_of_before_there_were_states_goes_on_without_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has nothing but vectors, Box"):
        train_agent(pole_config(tmp_path, 40, "--env.state_keys", "none"), console=quiet())
    run = tmp_path / "old"
    run.mkdir()
    (run / "config.yaml").write_text("env:\n  id: CartPole-v1\nnum_steps: 9\n")
    assert read_run(run).env.state_keys == "none"


def test_an_evaluated_agent_answers_as_the_one_that_was_trained(pole: Path) -> None:
    agent, make, history, step = load_agent(pole, "cpu")
    env = make()
    assert (step, env.spec_of_streams.state) == (120, 4)
    stacks = History(env.spec_of_streams, history=history)
    stacks.push(env.reset(seed=0)[0], is_first=True)
    norm = agent.network.state.norm.mean.clone()
    assert agent.act(stacks.stack(), 0.0)[0] in (0, 1)
    assert torch.equal(norm, agent.network.state.norm.mean)


def test_an_exported_agent_and_a_bundle_answer_alike(pole: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = export_agent(pole, to="onnx", out=str(tmp_path / "agent.onnx"))
    bundle = export_agent(pole, to="bundle", out=str(tmp_path / "bundle"))
    agents, player = [spl.load(one, device="cpu") for one in (pole, bundle)], player_of(path)
    assert player.told["state"] == [None]
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=3)
    is_over = False
    while not is_over:
        action = agents[0].act(observation)
        assert agents[1].act(observation) == player.act(observation) == action
        np.testing.assert_allclose(player.q_values, agents[0].q_values, atol=1e-4)
        np.testing.assert_array_equal(agents[0].q_values, agents[1].q_values)
        observation, _, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
    (bundle / "config.json").write_text(
        json.dumps({**json.loads((bundle / "config.json").read_text()), "env": {"id": "CartPole-v1"}}) + "\n"
    )
    with pytest.raises(UsageError, match="has nothing but vectors"):  # of before there were states
        spl.load(bundle)


def test_a_graph_joins_the_vectors_as_the_adapter_does(smoke: Any) -> None:
    adapter = AudioVisualEnv(Robot(), EnvConfig(video_size=(36, 36), frame_skip=2))
    agent = build_agent(smoke("--memory.history", "2"), adapter.spec_of_streams, adapter.action_sizes, CPU)
    for number in range(4):
        agent.see(Observation(*[np.zeros(0)] * 3, np.full(11, number, np.float32)))  # type: ignore[arg-type]
    trained, portable = TrainedAgent(agent, adapter, history=2, step=0), Portable(agent, adapter, history=2)
    raw, env = Robot().seen(), spl.make_env(Robot(), video_size=(36, 36))
    trained.act(raw)
    state = torch.from_numpy(env.reset()[0]["state"])
    given = {**portable.inputs, "image": torch.from_numpy(np.stack([raw["camera"]] * 2)), "state": state}
    _, values, *_ = portable.eval()(*given.values())
    np.testing.assert_allclose(values.detach().numpy(), trained.q_values, atol=1e-5)
    del raw["goal"]
    trained.act(raw)  # of two frames the newest counts
    with pytest.raises(ValueError, match="the state 'goal' is missing"):
        trained.act(raw)
    with pytest.raises(ValueError, match="the observation must hold 'camera', got ndarray"):
        trained.act(raw["camera"])


def test_an_agent_of_a_state_alone_is_explained_and_filmed(pole: Path, tmp_path: Path) -> None:
    found = explain_agent(pole, ExplainAgentConfig(out=str(tmp_path), device="cpu"), console=quiet())
    (episode,) = found["episodes"]
    shares = [episode[f"share_of_{name}"] for name in ("video", "audio", "state")]
    assert shares == [0.0, 0.0, 1.0]
    assert {len(episode[name]) for name in ("video", "audio", "state")} == {episode["steps"]}
    told = {line.partition(": ")[2] for line in episode["sentences"]}
    assert told <= {"by state", "whatever it was given"}
    assert (tmp_path / "episode-1.png").exists()
    config = FilmConfig(out=str(tmp_path / "a.mp4"), duration_s=0.2, device="cpu")
    assert film(pole, config, console=quiet())["frames"] == 10
    with pytest.raises(UsageError, match="the agent has state alone, got --modalities video"):
        film(pole, replace(config, modalities="video"), console=quiet())


def test_of_three_senses_each_has_a_share(smoke: Any) -> None:
    config = smoke("--env", "examples.robot:Robot-v0", "--num_steps", "40", "--env_workers", "false")
    run = train_agent(config, console=quiet()).folder
    agent, make, history, _ = load_agent(run, "cpu")
    moments = played_moments(agent, make, history, 3)
    env = make()
    stacks = History(env.spec_of_streams, history=history)
    stacks.push(env.reset(seed=0)[0], is_first=True)
    reason = reason_of(agent, stacks.stack(), moments, with_maps=True, with_words=True)
    assert reason.shares is not None
    assert len(reason.shares) == 3
    assert reason.evidence is not None
    assert reason.evidence.has_state
    explained = explain_agent(run, ExplainAgentConfig(device="cpu", num_drawn=2), console=quiet())
    (episode,) = explained["episodes"]
    assert sum(episode[f"share_of_{name}"] for name in ("video", "audio", "state")) == pytest.approx(1.0)
