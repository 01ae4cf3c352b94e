"""The two phases on a small beacon world: what each changes, what it leaves, and that a seed repeats it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.collectors.progress import Progress
from spl.agents.config import LoopConfig, TrainAgentConfig, build_agent
from spl.agents.curriculum import Draw, ReplayCurriculum
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.exploration import ModalityDropout
from spl.agents.history import Stack
from spl.agents.loop import Collector, NonFiniteBatch, learn, owed_steps
from spl.agents.replay.memory import ReplayMemory
from spl.envs.config import EnvConfig
from spl.envs.vector import VectorisedEnv
from spl.models.encoder import EncoderConfig
from spl.records import AUDIO, VIDEO, Transition

ROUNDS = 6


class Bench:
    """Beacon worlds, a small agent and a memory, made from one seed."""

    def __init__(self, seed: int = 0, dropout: float = 0.0, num_envs: int = 1, **agent: Any) -> None:
        env = EnvConfig(
            id="spl/Beacon-v0",
            kwargs={"num_rounds": ROUNDS},
            video_size=(36, 36),
            num_mels=16,
            audio_frames=4,
        )
        encoder = EncoderConfig(video_features=16, audio_features=8, features=12)
        config = TrainAgentConfig(
            env=env, encoder=encoder, agent=DqnConfig(**{"thirds": "none", **agent}), seed=seed
        )
        self.envs = VectorisedEnv(env, num_envs=num_envs, seed=seed, is_apart=False, timeout_s=None)
        spec = self.envs.spec_of_streams
        self.agent: MultimodalDqn = build_agent(config, spec, self.envs.action_sizes, torch.device("cpu"))
        self.memory = ReplayMemory(
            spec, 200 * num_envs, num_envs=num_envs, history=config.memory.history, gamma=0.9
        )
        self.progress, self.seed = Progress(), seed
        self.dropout = ModalityDropout(dropout, 3.0, np.random.default_rng(seed), num_envs=num_envs)
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.agent.network.parameters(), lr=0.01)

    def collector(
        self, *, epsilon: float = 0.5, reward_clip: float | None = None, remembers_hidden: bool = False
    ) -> Collector:
        return Collector(
            self.agent,
            self.envs,
            self.memory,
            self.progress,
            epsilon_at=lambda step: epsilon,
            dropout=self.dropout,
            keep_reward=DqnConfig(reward_clip=reward_clip).kept_reward,
            remembers_hidden=remembers_hidden,
        )

    def collect(self, num_steps: int, **options: Any) -> list[Transition]:
        collector = self.collector(**options)
        collector.begin(self.envs.start().begun)
        return [transition for _ in range(num_steps) for transition in collector.step().transitions]

    def curriculum(self, **options: Any) -> ReplayCurriculum:
        config, generator = ReplayCurriculumConfig(**options), np.random.default_rng(self.seed)
        return ReplayCurriculum(config, self.agent, self.memory, generator, num_steps=100, huber=True)

    def learning(self, *, loop: LoopConfig | None = None, **options: Any) -> Iterator[Tensor]:
        options = {"curriculum": self.curriculum(), "max_grad_norm": None, **options}
        loop = LoopConfig(mini_buffer=8, batch_size=4) if loop is None else loop
        self.progress.replays_due = loop.replays
        return learn(
            self.agent,
            self.memory,
            self.optimizer,
            self.progress,
            loop,
            **options,
        )

    def learn(self, **options: Any) -> list[float]:
        return [loss.item() for loss in self.learning(**options)]

    def weights(self) -> list[Tensor]:
        return [weight.clone() for weight in self.agent.network.state_dict().values()]


class Weighing(ReplayCurriculum):
    """Draws uniformly and lets each transition count with the same weight."""

    def __init__(self, bench: Bench, weight: float) -> None:
        self.uniform, self.weight = bench.curriculum(), weight
        self.views, self.agent, self.memory = None, bench.agent, bench.memory

    def draw(self, num: int, step: int) -> Draw:
        return Draw(self.uniform.draw(num, step).places, np.full(num, self.weight, np.float32))

    def see(self, places: NDArray[np.int64], losses: Tensor) -> None:
        pass


def are_equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_collecting_leaves_the_weights_and_learning_leaves_the_memory() -> None:
    bench = Bench()
    before = bench.weights()
    bench.collect(2 * ROUNDS + 3)
    assert are_equal(before, bench.weights())
    assert bench.agent.num_updates == 0
    stored = bench.memory.written, len(bench.memory), [field.tobytes() for field in bench.memory.fields]
    played = bench.progress.step, bench.progress.episode, list(bench.progress.recent)
    bench.learn()
    assert not are_equal(before, bench.weights())
    assert stored == (
        bench.memory.written,
        len(bench.memory),
        [field.tobytes() for field in bench.memory.fields],
    )
    assert (bench.progress.step, bench.progress.episode, list(bench.progress.recent)) == played


@pytest.mark.parametrize(
    ("replays", "mini_buffer", "batch_size", "num_updates"), [(1, 8, 8, 1), (3, 10, 4, 9), (2, 5, 1, 10)]
)
def test_number_of_updates(replays: int, mini_buffer: int, batch_size: int, num_updates: int) -> None:
    bench = Bench()
    bench.collect(20)
    sizes: list[int] = []

    class Counting(Weighing):
        def see(self, places: NDArray[np.int64], losses: Tensor) -> None:
            assert not losses.requires_grad
            sizes.append(losses.shape[0])

    curriculum = Counting(bench, weight=1.0)
    loop = LoopConfig(replays=replays, mini_buffer=mini_buffer, batch_size=batch_size)
    assert len(bench.learn(loop=loop, curriculum=curriculum)) == num_updates
    assert bench.agent.num_updates == num_updates
    assert sum(sizes) == replays * mini_buffer
    assert max(sizes) == batch_size


@pytest.mark.parametrize("name", ["uniform", "self-paced", "prioritized", "spl-to-per"])
def test_every_curriculum_takes_as_many_updates_and_its_losses_are_seen(name: str) -> None:
    bench = Bench()
    bench.collect(40)
    curriculum = bench.curriculum(name=name)
    loop = LoopConfig(replays=2, mini_buffer=10, batch_size=4)
    for step in (0, 10, 40, 100):  # of 100: warm-up, pace, its end
        bench.progress.step = step
        assert len(bench.learn(loop=loop, curriculum=curriculum)) == 6
        assert not bench.progress.drawn.size
    assert bench.agent.num_updates == 24
    if curriculum.priorities is not None:
        curriculum.draw(1, 0)
        places = bench.memory.sampleable.places()
        assert (curriculum.priorities.tree.values[places] != curriculum.priorities.highest).sum() > 20


def test_scoring_gives_the_losses_that_are_learned_without_a_graph() -> None:
    bench = Bench()
    bench.collect(30)
    batch = bench.memory.at(bench.memory.sampleable.places())
    scored, losses = bench.agent.score(batch), bench.agent.losses(batch)
    assert losses.requires_grad
    assert not scored.requires_grad
    torch.testing.assert_close(scored, losses.detach())  # convolved in another layout


def test_a_batch_without_a_modality_is_blank_in_it_now_and_next() -> None:
    bench = Bench()
    bench.collect(30)
    batch = bench.memory.at(bench.memory.sampleable.places())
    deaf = batch.without(AUDIO)
    assert not deaf.audio.any()
    assert not deaf.next_audio.any()
    assert deaf.present.tolist() == deaf.next_present.tolist() == [[True, False]] * batch.size
    assert torch.equal(deaf.video, batch.video)
    assert torch.equal(deaf.next_video, batch.next_video)
    assert batch.present.all()
    assert batch.audio.any()


def test_an_update_is_whole_when_its_loss_is_told() -> None:
    bench = Bench(target_every_updates=1)
    bench.collect(20)
    next(bench.learning())  # and the caller stops here
    assert bench.agent.num_updates == 1
    assert are_equal(bench.weights(), list(bench.agent.target.state_dict().values()))


def test_the_same_seed_gives_the_same_transitions_and_losses() -> None:
    benches = [Bench(seed, dropout=0.5) for seed in (3, 3, 4)]
    collected = [bench.collect(3 * ROUNDS) for bench in benches]
    losses = [bench.learn() for bench in benches]

    def flat(transitions: list[Transition]) -> list[Any]:
        return [
            (*(array.tobytes() for array in (*one.observation, *one.next_observation)), *one[1:5])
            for one in transitions
        ]

    assert flat(collected[0]) == flat(collected[1])
    assert losses[0] == losses[1]
    assert are_equal(benches[0].weights(), benches[1].weights())
    assert flat(collected[0]) != flat(collected[2])
    assert losses[0] != losses[2]


def test_transitions_are_those_of_the_memory() -> None:
    bench = Bench()
    transitions = bench.collect(2 * ROUNDS)
    batch = bench.memory.gather(*bench.memory.indices())
    assert batch.size == len(transitions)
    for row, one in enumerate(transitions):
        assert torch.equal(batch.video[row, -1], torch.from_numpy(one.observation.video))
        assert torch.equal(batch.next_audio[row, -1], torch.from_numpy(one.next_observation.audio))
        assert batch.action[row] == one.action
        assert batch.reward[row] == one.reward
        assert batch.discount[row].item() == pytest.approx(0.0 if row % ROUNDS == ROUNDS - 1 else 0.9)
    assert [one.terminated for one in transitions] == ([False] * (ROUNDS - 1) + [True]) * 2


def test_progress_counts_steps_episodes_and_true_returns() -> None:
    bench = Bench()
    transitions = bench.collect(2 * ROUNDS + 1)
    assert (bench.progress.step, bench.progress.episode) == (2 * ROUNDS + 1, 2)
    totals = [sum(one.reward for one in transitions[k * ROUNDS : (k + 1) * ROUNDS]) for k in (0, 1)]
    assert [tuple(episode) for episode in bench.progress.recent] == [(total, ROUNDS) for total in totals]
    later = Progress()
    later.load_state_dict(bench.progress.state_dict())
    assert (later.step, later.episode) == (2 * ROUNDS + 1, 2)
    assert later.recent == bench.progress.recent


def test_rewards_are_clipped_in_the_memory_and_true_in_the_report() -> None:
    bench, clipped = Bench(), Bench()
    rewards = [one.reward for one in bench.collect(4 * ROUNDS)]
    kept = [one.reward for one in clipped.collect(4 * ROUNDS, reward_clip=0.25)]
    assert set(rewards) == {0.0, 1.0}
    assert kept == [min(reward, 0.25) for reward in rewards]
    assert clipped.memory.gather(*clipped.memory.indices()).reward.tolist() == kept
    assert clipped.progress.recent == bench.progress.recent


def test_a_modality_taken_away_is_absent_for_the_agent_and_in_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(dropout=0.5)
    stacks: list[Stack] = []
    decide = bench.agent.decide
    monkeypatch.setattr(
        bench.agent, "decide", lambda stack, epsilon: stacks.append(stack) or decide(stack, epsilon)
    )
    num_steps = 10 * ROUNDS
    bench.collect(num_steps)
    assert [len(stack.present) for stack in stacks] == [1] * num_steps
    batch = bench.memory.gather(*bench.memory.indices())
    assert torch.equal(batch.present, torch.cat([stack.present for stack in stacks]))
    assert torch.equal(batch.video, torch.cat([stack.video for stack in stacks]))
    assert torch.equal(batch.audio, torch.cat([stack.audio for stack in stacks]))
    for modality, stream in ((VIDEO, batch.video), (AUDIO, batch.audio)):
        is_absent = ~batch.present[:, modality]
        assert 0 < is_absent.sum() < num_steps
        assert (stream[:, -1].flatten(1)[is_absent] == 0).all()
        assert (stream[:, -1].flatten(1)[~is_absent] != 0).any(dim=1).all()
    assert batch.present.any(dim=1).all()
    is_later = torch.arange(num_steps) % ROUNDS > 0  # not only an episode's first step
    assert (~batch.present[is_later]).sum(dim=0).min() > 0


def test_epsilon_is_asked_at_the_step_that_is_played() -> None:
    bench, asked = Bench(), []
    collector = bench.collector()

    def epsilon_at(step: int) -> float:
        asked.append(step)
        return 1.0

    collector.epsilon_at = epsilon_at
    collector.begin(bench.envs.start().begun)
    for _ in range(ROUNDS + 2):
        collector.step()
    assert asked == list(range(ROUNDS + 2))


def test_several_environments_fill_their_own_rings_without_junk() -> None:
    bench = Bench(num_envs=3)
    transitions = bench.collect(2 * ROUNDS)
    assert len(transitions) == len(bench.memory) == bench.progress.step == 3 * 2 * ROUNDS
    assert bench.progress.episode == 6
    assert bench.memory.written == (2 * (ROUNDS + 1) + 1,) * 3  # two final observations, and one first
    batch = bench.memory.gather(*bench.memory.indices())
    is_end = batch.discount == 0
    assert is_end.sum() == 6
    stored = {array.numpy().tobytes() for array in batch.next_video[is_end, -1]}
    true = {one.next_observation.video.tobytes() for one in transitions if one.terminated}
    assert stored == true


def test_each_environment_loses_its_modalities_by_itself() -> None:
    bench = Bench(num_envs=2, dropout=0.5)
    bench.collect(20 * ROUNDS)
    slots, envs = bench.memory.indices()
    batch = bench.memory.gather(slots, envs)
    first, second = (batch.present[torch.from_numpy(envs == env)] for env in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_collector_put_back_goes_on_as_if_it_had_never_stopped(num_envs: int) -> None:
    def flat(transitions: list[Transition]) -> list[Any]:
        return [(*(a.tobytes() for a in one.next_observation), *one[1:5]) for one in transitions]

    whole, parts = (Bench(num_envs=num_envs, dropout=0.4) for _ in range(2))
    first = whole.collector()
    first.begin(whole.envs.start().begun)
    for _ in range(ROUNDS + 2):
        first.step()
    state = first.state_dict(), whole.progress.state_dict(), whole.agent.state_dict()
    expected = [flat(first.step().transitions) for _ in range(2 * ROUNDS)]
    second = parts.collector()
    parts.agent.load_state_dict(state[2])
    parts.progress.load_state_dict(state[1])
    assert second.load_state_dict(state[0]) == []
    assert [flat(second.step().transitions) for _ in range(2 * ROUNDS)] == expected
    assert parts.progress.recent == whole.progress.recent


def test_learning_stopped_in_the_middle_of_a_mini_buffer_goes_on_there() -> None:
    loop = LoopConfig(replays=2, mini_buffer=8, batch_size=2)
    whole, parts = Bench(), Bench()
    for bench in (whole, parts):
        bench.collect(20)
    expected = whole.learn(loop=loop)
    curriculum = parts.curriculum()

    def learning() -> Iterator[Tensor]:
        agent, memory, optimizer = parts.agent, parts.memory, parts.optimizer
        return learn(
            agent, memory, optimizer, parts.progress, loop, curriculum=curriculum, max_grad_norm=None
        )

    parts.progress.replays_due = 2
    first = learning()
    losses = [next(first).item() for _ in range(3)]
    state = parts.progress.state_dict()
    parts.progress = Progress()
    parts.progress.load_state_dict(state)
    rest = learning()
    assert losses + [loss.item() for loss in rest] == expected


def test_a_loss_that_is_not_finite_leaves_the_weights_and_hands_over_its_batch() -> None:
    bench = Bench()
    bench.collect(20)
    before = bench.weights()
    with pytest.raises(NonFiniteBatch) as caught:
        bench.learn(curriculum=Weighing(bench, torch.nan))
    assert caught.value.batch.size == caught.value.losses.shape[0] == 4
    assert are_equal(before, bench.weights())
    assert bench.agent.num_updates == 0


def test_the_curriculum_s_weights_are_descended() -> None:
    bench = Bench()
    bench.collect(20)
    before = bench.weights()
    assert bench.learn(curriculum=Weighing(bench, 0.0)) == [0.0, 0.0]
    assert are_equal(before, bench.weights())


@pytest.mark.parametrize("max_grad_norm", [1e-3, None])
def test_the_gradient_is_clipped(max_grad_norm: float | None) -> None:
    bench = Bench()
    bench.optimizer = torch.optim.SGD(bench.agent.network.parameters(), lr=1.0)
    bench.collect(20)
    before = [weight.detach().clone() for weight in bench.agent.network.parameters()]
    next(bench.learning(max_grad_norm=max_grad_norm))
    moved = [a - b for a, b in zip(bench.agent.network.parameters(), before, strict=True)]
    norm = float(torch.cat([difference.detach().flatten() for difference in moved]).norm())
    if max_grad_norm is None:
        assert norm > 1e-2
    else:
        assert norm == pytest.approx(max_grad_norm, rel=1e-2)


@pytest.mark.parametrize(
    ("replays_due", "num_drawn", "owed"),
    [
        (0, 0, 0.0),
        (10, 0, 2_000.0),
        (9, 2_000, 2_000.0),
        (0, 25, 2.5),
        (20, 0, 4_000.0),
    ],  # two phases are due
)
def test_what_is_due_is_told_in_steps(replays_due, num_drawn, owed):
    loop, progress = LoopConfig(collect_steps=2_000, replays=10, mini_buffer=2_000, batch_size=25), Progress()
    progress.replays_due, progress.drawn = replays_due, np.zeros(num_drawn, np.int64)
    assert owed_steps(progress, loop) == owed
