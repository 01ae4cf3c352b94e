"""An agent that remembers: its losses along sequences by hand, and that nothing mixes up its state."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.agents.build import assemble, new_agent, new_memory, open_envs
from spl.agents.checkpoint import Parts
from spl.agents.conditions import UNTOUCHED
from spl.agents.config import TrainAgentConfig, read_run
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.evaluation import choice
from spl.agents.evaluation.choice import played_moments
from spl.agents.evaluation.decision import reason_of
from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate_agent
from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent, played
from spl.agents.evaluation.playing import play, policy_of
from spl.agents.evaluation.rollout import AGAIN, Player
from spl.agents.evaluation.sureness import played_choices
from spl.agents.history import Stack
from spl.agents.load import load_agent
from spl.agents.q_network.network import MultimodalQNetwork, recurrent_unit
from spl.agents.q_network.quantiles import acted_on
from spl.agents.q_network.thirds import Views, asymmetric, only
from spl.agents.replay.sequences import Sequences
from spl.agents.sharing.portable import Portable
from spl.agents.targets import Answers
from spl.agents.train import train_agent
from spl.agents.trained import load
from spl.config import parse as config
from spl.config.errors import UsageError
from spl.envs.filmed import make_filmed
from spl.envs.registry import make_env
from spl.envs.resumable import reset_seed
from spl.records import AUDIO, VIDEO
from tests.agents.q_network.test_thirds import TinyEncoder
from tests.agents.test_train import quiet, rows_of, state_of

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
GRU = ("--agent.recurrent", "gru", "--agent.burn_in", "3", "--agent.sequence", "4")
SMALL = (*GRU, "--loop.batch_size", "2", "--loop.mini_buffer", "4")


class Table(TinyEncoder):
    """A code that is looked up by the newest pixel, so that each step's gradient is told apart."""

    features = 2  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(10, 2))

    def ungated(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        return self.table[video[:, -1, 0, 0, 0].long()], audio

    def gated(self, features: tuple[Tensor, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        return features[0] * present[:, :1], features[1]

    def code(self, streams: tuple[Tensor, Tensor], present: Tensor, beside: None) -> Tensor:
        return streams[0]


def half(scale: float = 1.0, full: tuple[float, ...] = ()) -> MultimodalQNetwork:
    """Return a network whose state after a step is ``(tanh(code) + state) / 2``, its values ``scale`` of it.

    With thirds those of the privileged heads are ``full`` of it.
    """
    words: Any = {"dueling": False, "fusion": "joint", "has_thirds": bool(full)}
    network = MultimodalQNetwork(Table(), (2,), is_recurrent=True, **words)  # type: ignore[arg-type]
    assert network.recurrent is not None
    with torch.no_grad():
        for weight in network.recurrent.parameters():
            weight.zero_()
        network.recurrent.weight_ih[4:] = torch.eye(2)  # of the candidate; both gates are 1/2
        network.encoder.table[:, 0] = torch.atanh(torch.arange(10.0) / 10)  # type: ignore[union-attr]
        for head, factor in zip([network.heads[0], *(network.privileged or ())], (scale, *full), strict=True):
            head.advantage.weight.copy_(factor * torch.eye(2))
            head.advantage.bias.zero_()
    return network


def agent_of(network: MultimodalQNetwork, target: MultimodalQNetwork, **options: Any) -> MultimodalDqn:
    kept = {name: value.clone() for name, value in target.state_dict().items()}
    config = DqnConfig(**{"dueling": False, "huber": False, "recurrent": "gru", "thirds": "none", **options})
    agent = MultimodalDqn(network, target, config, np.random.default_rng(0), CPU)
    target.load_state_dict(kept)
    return agent


def sequence(
    pixels: list[int], *, burn_in: int, there: list[bool] | None = None, ahead: int = 1
) -> Sequences:
    """Return a sequence of these pixels, whose learned steps take action 0 and earn 1, with discount 1/2."""
    W, L = len(pixels), len(pixels) - burn_in - ahead
    is_there = torch.tensor([[True] * W if there is None else there])
    return Sequences(
        video=torch.tensor(pixels, dtype=torch.uint8).view(1, W, 1, 1, 1, 1),
        audio=torch.zeros(1, W, 1, 1, 1, 1),
        present=torch.ones(1, W, 2, dtype=torch.bool),
        state=torch.zeros(1, W, 0),
        recurrent=torch.tensor([[0.8, 0.0]]),
        is_there=is_there,
        action=torch.zeros(1, L, dtype=torch.int64),
        reward=torch.ones(1, L),
        discount=torch.full((1, L), 0.5),
        reward_soon=torch.ones(1, L),
        discount_soon=torch.full((1, L), 0.5),
        ahead=torch.full((1, L), ahead),
        is_learned=is_there[:, burn_in : burn_in + L],
    )


def test_numbers_of_a_new_unit_are_kept_for_up_to_32_steps() -> None:
    torch.manual_seed(0)
    unit = recurrent_unit(400)
    kept = torch.sigmoid(unit.bias_ih[400:800] + unit.bias_hh[400:800])  # of a number each step, at code 0
    steps = 1 / (1 - kept) - 1  # uniform in 1..31
    assert 1 <= steps.min() < 2
    assert 30 < steps.max() <= 31.001
    assert abs(float(steps.detach().mean()) - 16) < 1.5


def test_the_loss_of_a_sequence_by_hand() -> None:
    agent = agent_of(half(), half(scale=2.0), burn_in=1, sequence=2)
    # the first state is 0.8 as stored; pixels 4, 2, 6, 5: 0.6, 0.4, 0.5, 0.5, of which the head makes values
    # learned are 0.4 and 0.5, towards 1 + 0.5 * 2 * 0.5 = 1.5 each: action 0 is the better one, Q of 1 is 0
    loss = agent.losses(sequence([4, 2, 6, 5], burn_in=1))
    assert loss.tolist() == pytest.approx([(1.1**2 + 1.0**2) / 2 / 2])


def test_a_target_two_steps_ahead_by_hand() -> None:
    agent = agent_of(half(), half(scale=2.0), burn_in=0, sequence=1, n_step=2)
    loss = agent.losses(sequence([4, 2, 6], burn_in=0, ahead=2))  # states 0.6, 0.4, 0.5
    assert loss.tolist() == pytest.approx([(1 + 0.5 * 2 * 0.5 - 0.6) ** 2 / 2])


@pytest.mark.parametrize("present", [True, False])
def test_thirds_along_a_sequence_by_hand(present: bool) -> None:
    agent = agent_of(half(full=(1.0, 3.0)), half(2.0, (2.0, 5.0)), burn_in=1, sequence=2, thirds="asymmetric")
    batch = sequence([4, 2, 6, 5], burn_in=1)
    batch.present[0, 2, 1] = present  # at the second of both steps that are learned: audio
    whole, video, audio = agent.losses(batch).tolist()
    # of video alone 0.2, 0.2, 0.4, 0.45, as it begins at 0; in full 0.4 and 0.5, towards 1 + 0.5 * 2 * 0.5
    losses = [(1.5 - 0.4) ** 2 + (0.4 - 0.2) ** 2, (1.5 - 0.5) ** 2 + (0.5 - 0.4) ** 2]
    assert whole == pytest.approx((1.1**2 + 1.0**2) / 2 / 2)
    assert video == pytest.approx((losses[0] + present * losses[1]) / 2 / 2)
    # of audio alone 0 throughout; in full 3 * 0.4 and 3 * 0.5, towards 1 + 0.5 * 5 * 0.5
    losses = [(2.25 - 1.2) ** 2 + 1.2**2, (2.25 - 1.5) ** 2 + 1.5**2]
    assert audio == pytest.approx((losses[0] + present * losses[1]) / 2 / 2)


def test_steps_that_are_not_there_leave_the_stored_state_alone_and_count_nothing() -> None:
    agent = agent_of(half(), half(scale=2.0), burn_in=1, sequence=2)
    loss = agent.losses(sequence([9, 9, 4, 2], burn_in=1, there=[False, False, True, True]))
    assert loss.tolist() == pytest.approx([(1 + 0.5 * 2 * 0.4 - 0.6) ** 2 / 2])


def test_the_burn_in_has_no_gradient_and_the_learned_steps_reach_back_to_their_first() -> None:
    network = half()
    batch = sequence([1, 2, 3, 4, 5], burn_in=2)  # 3 and 4 are learned, 5 makes the last target
    agent_of(network, half(), burn_in=2, sequence=2).losses(batch).sum().backward()
    moved = network.encoder.table.grad.abs().sum(dim=1)  # type: ignore[union-attr]
    assert [place for place in range(10) if moved[place] > 0] == [3, 4]
    network.zero_grad()
    only_last = batch._replace(is_learned=torch.tensor([[False, True]]))
    agent_of(network, half(), burn_in=2, sequence=2).losses(only_last).sum().backward()
    moved = network.encoder.table.grad.abs().sum(dim=1)  # type: ignore[union-attr]
    assert [place for place in range(10) if moved[place] > 0] == [3, 4], (
        "through the state of one step before"
    )


@pytest.mark.parametrize("options", [{}, {"double": False}, {"quantiles": 4, "risk": 0.5}, {"n_step": 3}])
def test_losses_are_those_of_the_steps_as_they_are_played(smoke: Callable[..., Any], options: Any) -> None:
    """What is unrolled is compared with the network stepping through the whole episode, a step at a time."""
    words = [word for name, value in options.items() for word in (f"--agent.{name}", str(value).lower())]
    parts = parts_after(smoke(*SMALL, *words), num_steps=20)
    agent, memory, config = parts.agent, parts.memory, parts.agent.config
    with torch.no_grad():
        for weight in agent.target.parameters():
            weight.mul_(0.9)
    stored = torch.from_numpy(memory.fields.recurrent[:, 0])
    places, networks = np.array([9, 3]), (agent.network, agent.target)
    assert agent.unroll is not None
    losses = agent.losses(memory.sequences_at(places, np.random.default_rng(5), agent.unroll)).view(3, 2)
    for row in range(2):
        first = int(np.random.default_rng(5).integers(4, size=(2, 1))[row, 0])
        learned = [at for at in range(places[row] - first, places[row] - first + 4) if at >= 0]
        start = max(0, learned[0] - config.burn_in)
        steps = range(start, learned[-1] + config.n_step + 1)
        found = [stepwise(network, memory, stored[start], steps) for network in networks]
        expected = []
        for at in (np.array([one]) for one in learned):
            now, far, near = (int(at[0]) - start + distance for distance in (0, config.n_step, 1))
            choosing = found[0 if config.double else 1]
            whole = [found[0][now].whole], [found[1][far].whole], [choosing[far].whole]
            reward, discount, *_ = memory.one_ahead(at) or memory.at(at).following
            alone = asymmetric(
                *(found[0][now], found[1][near], choosing[near]),
                *(memory.at(at).action, reward, discount),
                sizes=agent.sizes,
                huber=config.huber,
            )
            expected.append([float(one) for one in (agent._whole(Answers(*whole), memory.at(at)), *alone)])
        assert losses[:, row].tolist() == pytest.approx(np.mean(expected, axis=0).tolist(), rel=1e-5)


def stepwise(network: MultimodalQNetwork, memory: Any, stored: Tensor, steps: range) -> list[Views]:
    """Return what a network says in every view at each step of an episode, from a stored state on."""
    assert network.recurrent is not None
    assert network.privileged is not None
    states, views = [stored[None], *torch.zeros(2, 1, len(stored))], []
    for at in steps:
        one = memory.at(np.array([at]))
        for view, flags in enumerate((one.present, only(one.present, VIDEO), only(one.present, AUDIO))):
            code = network.encoder.code(network.encoder.streams(one.video, one.audio, flags), flags)
            states[view] = network.recurrent(code, states[view]).detach()
        alone = tuple(acted_on(network.heads[0](state), network.risk) for state in states[1:])
        full = tuple(head(states[0]) for head in network.privileged)
        views.append(Views(network.heads[0](states[0]), alone, full))
    return [one.mapped(Tensor.detach) for one in views]


def parts_after(config: TrainAgentConfig, num_steps: int) -> Parts:
    """Return the parts of a run after some steps of collecting."""
    config, envs, _ = open_envs(config, None)
    agent = new_agent(config, envs)
    parts = assemble(config, agent, envs, new_memory(config, envs, agent, Path("unused")))
    parts.collector.begin(envs.start().begun)
    for _ in range(num_steps):
        parts.collector.step()
    envs.close()
    return parts


class Witness:
    """Keeps what an agent was given to remember at each step, and what it remembered after it."""

    def __init__(self, agent: MultimodalDqn) -> None:
        self.decide, self.given, self.reached = agent.decide, list[Tensor](), list[Tensor]()
        agent.decide = self  # type: ignore[method-assign]

    def __call__(self, stack: Stack, epsilon: float) -> Any:
        actions, reached = self.decide(stack, epsilon)
        assert reached is not None
        self.given.append(torch.zeros_like(reached) if stack.recurrent is None else stack.recurrent)
        self.reached.append(reached)
        return actions, reached

    def check(self, *lengths: int) -> None:
        """See that episodes of these lengths began with nothing, and went on with what was remembered."""
        starts = {sum(lengths[:number]) for number in range(len(lengths))}
        assert len(self.given) == sum(lengths)
        for step, given in enumerate(self.given):
            expected = torch.zeros_like(given) if step in starts else self.reached[step - 1]
            assert torch.equal(given, expected), step
        assert len({tuple(one.flatten().tolist()) for one in self.reached}) == len(self.reached)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a recurrent agent, evaluated while it was trained."""
    words = [
        "--config",
        str(ROOT / "configs/smoke/agent.yaml"),
        "--num_steps",
        "60",
        "--num_threads",
        "1",
        *SMALL,
    ]
    words += [
        "--env.kwargs.num_rounds",
        "10",
        "--device",
        "cpu",
        "--runs",
        str(tmp_path_factory.mktemp("runs")),
    ]
    words += ["--evaluate_every_steps", "50", "--evaluate_episodes", "1"]
    return train_agent(config.parse(TrainAgentConfig, words, prog="spl"), console=quiet()).folder


def fresh(run: Path) -> tuple[MultimodalDqn, Any, Witness]:
    agent, make, _, _ = load_agent(run, "cpu")
    return agent, make, Witness(agent)


def test_every_way_to_play_carries_what_is_remembered(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, make, witness = fresh(run)
    env = make()
    play(policy_of(agent, 0.3), [env], UNTOUCHED, history=4, seed=1)
    witness.check(10)
    agent, _, witness = fresh(run)
    stacks, _ = played(agent, env, 4, 1)
    witness.check(10)
    assert torch.equal(Stack.of(stacks).recurrent, torch.cat(witness.given))  # type: ignore[arg-type]
    agent, _, witness = fresh(run)
    played_choices(agent, env, history=4, seed=1, num_episodes=2)
    witness.check(10, 10)
    agent, _, witness = fresh(run)
    monkeypatch.setattr(choice, "NUM_STEPS", 24)
    moments = played_moments(agent, make, 4, 1)
    witness.check(10, 10, 4)
    filmed, camera = make_filmed(env.config)
    agent, _, witness = fresh(run)
    player = Player(
        lambda stack, step: reason_of(agent, stack, moments, with_maps=True, with_words=True),
        *(filmed, camera),
        history=4,
    )
    assert len(list(player.shots(2))) == 22
    witness.check(10, 10)


def test_an_agent_that_decides_again_remembers_what_it_was_given_last(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, make, witness = fresh(run)
    filmed, camera = make_filmed(make().config)
    monkeypatch.setattr(choice, "NUM_STEPS", 10)
    moments = played_moments(agent, make, 4, 1)
    player = Player(
        lambda stack, step: reason_of(agent, stack, moments, with_maps=False), filmed, camera, history=4
    )
    witness.given.clear()
    witness.reached.clear()
    shots = player.shots(1)
    next(shots)
    player.absent = (VIDEO,)
    shots.send(AGAIN)
    next(shots)
    first, again, second = witness.given
    assert torch.equal(first, again)
    assert not torch.equal(*witness.reached[:2])
    assert torch.equal(second, witness.reached[1])


def test_several_environments_keep_theirs_apart(run: Path) -> None:
    agent, make, witness = fresh(run)
    play(policy_of(agent, 0.0), [make(), make()], UNTOUCHED, history=4, seed=1)
    for given, before in zip(witness.given[1:], witness.reached, strict=False):
        assert torch.equal(given, before)
    assert not torch.equal(*witness.reached[-1])


def test_what_is_trained_judged_and_handed_on_acts_alike(run: Path) -> None:
    told = evaluate_agent(
        run, EvaluateAgentConfig(num_episodes=2, num_seeds=1, device="cpu"), console=quiet()
    )
    assert {"all modalities", "audio only"} <= set(told["conditions"])
    assert rows_of(run, "eval/mean_reward")
    found = explain_agent(run, ExplainAgentConfig(device="cpu", num_drawn=1), console=quiet())
    assert found["episodes"][0]["steps"] == 10
    values = torch.tensor(found["episodes"][0]["q_values"])
    agent, env = load(run, device="cpu"), make_env(read_run(run).env)
    world, expected = env.env, []
    observation, _ = world.reset(seed=reset_seed(1_000_000, 0))
    for _ in range(10):
        action = agent.act(observation)
        expected.append(torch.from_numpy(agent.q_values))
        observation, *_ = world.step(action)
    torch.testing.assert_close(torch.stack(expected), values)
    agent.reset()
    agent.act(world.reset(seed=reset_seed(1_000_000, 0))[0])
    torch.testing.assert_close(torch.from_numpy(agent.q_values), values[0])


def test_a_graph_has_what_is_remembered_as_an_input_and_an_output(run: Path) -> None:
    agent, env = load(run, device="cpu"), make_env(read_run(run).env)
    portable = Portable(agent.dqn, agent.cutter.adapter, history=4).eval()
    assert portable.inputs["recurrent"].shape == (16,)
    exported = torch.export.export(portable, tuple(portable.inputs.values())).module()
    states = {key: value for key, value in portable.inputs.items() if f"next_{key}" in portable.outputs}
    keys = {"image": env.describe()["video"]["key"], "sound": env.describe()["audio"]["key"]}
    observation, _ = env.env.reset(seed=1)
    for _ in range(4):
        action = agent.act(observation)
        given = {name: torch.from_numpy(observation[key]) for name, key in keys.items()}
        inputs = {**portable.inputs, **states, **given}
        with torch.no_grad():
            told = dict(zip(portable.outputs, exported(*inputs.values()), strict=True))
        assert float((told["q_values"] - torch.from_numpy(agent.q_values)).abs().max()) < 1e-4
        states = {key: told[f"next_{key}"] for key in states}
        observation, *_ = env.env.step(action)
    assert states["recurrent"].any()


def test_the_memory_keeps_the_state_before_each_step(smoke: Callable[..., Any]) -> None:
    config = smoke(*SMALL, "--env.kwargs.num_rounds", "5")
    parts = parts_after(config, 12)
    fields = parts.memory.fields
    assert fields.age[:15, 0].tolist() == [0, 1, 2, 3, 4, 5] * 2 + [0, 1, 2]
    begun = fields.recurrent[:15, 0][fields.age[:15, 0] == 0]
    assert not begun.any()
    network, state = parts.agent.network, None
    for step in range(5):
        one = parts.memory.at(np.array([step]))
        np.testing.assert_allclose(
            fields.recurrent[step, 0], 0 if state is None else state[0].numpy(), atol=1e-6
        )
        with torch.no_grad():
            _, state = network.step(one.video, one.audio, one.present, None, state)


def test_dropout_can_hide_a_modality_for_a_whole_episode_and_in_replay(smoke: Callable[..., Any]) -> None:
    words = (
        "--agent.modality_dropout",
        "0.5",
        "--agent.modality_dropout_steps",
        "1e6",
        "--agent.thirds",
        "none",
    )
    parts = parts_after(smoke(*SMALL, *words, "--env.kwargs.num_rounds", "5"), 60)
    present = parts.memory.fields.present[:72, 0].reshape(12, 6, 2)
    assert (present == present[:, :1]).all()
    assert {tuple(one) for one in present[:, 0].tolist()} == {(True, True), (True, False), (False, True)}


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        (("--num_envs", "2", "--env_workers", "false", "--loop.collect_steps", "6"), (61, 118)),
        pytest.param(
            (*("--memory.on_disk", "true", "--memory.capacity", "120"), "--agent.modality_dropout", "0.4"),
            (97, 140),
            marks=pytest.mark.slow,
        ),
        pytest.param(("--agent.precision", "bfloat16", "--agent.n_step", "2"), (75,), marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_in_mid_episode_goes_on_to_the_bit(
    smoke: Callable[..., Any], options: Any, stops: tuple[int, ...]
) -> None:
    described = smoke(*SMALL, *options, "--num_steps", "160")
    whole = train_agent(described, console=quiet()).folder
    folder = None
    for num_steps in (*stops, described.num_steps):
        folder = train_agent(replace(described, num_steps=num_steps), resume=folder, console=quiet()).folder
    assert folder is not None
    assert state_of(folder) == state_of(whole)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reconstruction": 1}, "reconstruction=1.0 does not fit: set --agent.reconstruction 0"),
        ({"fusion": "mdqn", "dueling": False}, "fusion=mdqn does not fit: set --agent.fusion joint"),
        ({"head": "implicit"}, "head=implicit does not fit: set --agent.head quantile"),
        ({"compile": True}, "compile=True does not fit: set --agent.compile false"),
        ({"audio_shift": 2}, "audio_shift=2 does not fit: set --agent.audio_shift 0"),
        ({"recurrent": "none", "burn_in": 2}, "are those of a recurrent agent: set --agent.recurrent gru"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DqnConfig(**{"recurrent": "gru", **options})


def test_a_curriculum_over_transitions_is_refused_and_leaves_no_folder(smoke, tmp_path) -> None:
    with pytest.raises(
        UsageError, match="of which no curriculum knows the difficulty: set --curriculum uniform"
    ):
        train_agent(smoke(*SMALL, "--curriculum.name", "prioritized"), console=quiet())
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("recurrent", "least", "most"), [("gru", 0.95, 1.0), ("none", 0.3, 0.7)])
def test_a_cue_of_the_first_step_alone_needs_a_memory(smoke, recurrent, least, most) -> None:
    """Of two tones one sounds at the first of eight steps; at the last the action that it named earns 1."""
    words = [
        "--env",
        "tests.cue_world:Cue",
        "--env_workers",
        "false",
        "--memory.history",
        "2",
        "--num_steps",
        "3000",
    ]
    words += ["--agent.recurrent", recurrent, "--agent.thirds", "none", "--agent.gamma", "1"]
    words += ["--encoder.features", "32", "--memory.capacity", "3000", "--agent.epsilon_decay_steps", "2000"]
    words += ["--agent.learning_rate", "1e-3", "--agent.adam_epsilon", "1e-6"]
    words += ["--agent.burn_in", "2", "--agent.sequence", "8"] if recurrent == "gru" else []
    described = smoke(*words, "--agent.target_every_updates", "50")
    folder = train_agent(described, console=quiet()).folder
    agent, make, _, _ = load_agent(folder, "cpu")
    returns, _ = play(policy_of(agent, 0.0), [make() for _ in range(40)], UNTOUCHED, history=2, seed=7)
    assert least <= np.mean(returns) <= most
