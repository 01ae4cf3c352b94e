"""``spl explain agent``: saliency over video and audio, and each modality's contribution, step by step."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from spl.agents.conditions import UNTOUCHED
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.choice import Streams, evidence_for, spread, streams_of, together
from spl.agents.evaluation.playing import play
from spl.agents.history import History, Stack
from spl.agents.hub import local_folder
from spl.agents.load import Which, load_agent
from spl.agents.names import ActionNames
from spl.agents.q_network.decoupled import Sizes, advantage, best, probability, q_value
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Range, Seed
from spl.envs.actions import as_action
from spl.envs.chosen_streams import describe_left_out
from spl.eval_mode import borrowed, lent
from spl.explain.episode import Moment, draw_episode, drop_later
from spl.explain.two_streams import AsPictures, as_pictures, check_method
from spl.explain.words import NAMES, Evidence, sentence
from spl.records import Action
from spl.runs.files import replace_text, writable
from spl.runs.logger import Report, say
from spl.saliency import METHODS
from spl.saliency.layers import Inputs, Maps, Score, several
from spl.saliency.methods import LAYERLESS
from spl.saliency.metrics import average_drop, average_increase, explained
from spl.saliency.shapley import Shapley, shapley_values

SCORES: dict[str, Callable[[Tensor, Sizes], Score]] = {"advantage": advantage, "q-value": q_value}
MOST_DRAWN = 100  # steps, beside each other; Matplotlib draws fewer than 2 ** 16 pixels


@dataclass(frozen=True, kw_only=True)
class ExplainAgentConfig:
    """Which episodes of a trained agent are explained, and how."""

    num_episodes: Count = 1  # episodes to play
    method: str = "grad-cam"  # saliency methods
    score: Literal["advantage", "q-value"] = "advantage"  # what is explained, of the chosen action
    num_drawn: Annotated[int, Range(1, MOST_DRAWN)] = 8  # steps of each episode to draw, evenly spread
    seed: Seed = 1_000_000  # of the first episode; differs from those of training
    batch_size: Count = 32  # steps at a time
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training
    trust: bool = False  # import the classes that a bundle names
    out: PathName | None = None  # output folder; null: explanation/ in the run directory

    def __post_init__(self) -> None:
        check_fields(self)
        check_method(self.method)


class Explained(NamedTuple):
    """What is known of every step of an episode."""

    actions: Tensor  # (S,) int64, or (S, J)
    values: Tensor  # (S, A) Q-values
    shapley: Shapley  # of the score, (S,) each
    full: Tensor  # (S,) confidence in the action: softmax over actions
    masked: Tensor  # (S,) and with both modalities through their maps
    evidence: list[Evidence]  # of which each step's sentence is made
    video_maps: Tensor | None  # (D, H, W) of the steps that are drawn
    audio_maps: Tensor | None  # (D, M, T F) likewise


def explain_agent(
    run: str | Path, config: ExplainAgentConfig, *, console: Console | None = None
) -> dict[str, Any]:
    """Play episodes of a run's newest agent, greedily, and write what it acted on.

    ``episode-N.png`` shows steps with their maps and each modality's shares, ``episode-N.txt`` has a sentence
    for every step. ``explanation.json`` has every step's action, sentence, Q-values and Shapley values, the
    shares of each episode, and average drop and increase of the maps, with a softmax over actions as the
    confidence.

    Returns:
        What ``explanation.json`` holds.

    Raises:
        UsageError: if it is no agent's run, has no checkpoint, has no layer for the method, or the folder
            cannot be written.
    """
    run = local_folder(run)
    agent, make, history, step = load_agent(run, config.device, config.checkpoint, trusts=config.trust)
    model = _model_of(agent, history, config.method, run)
    out = writable(Path(config.out) if config.out is not None else run / "explanation")
    env = make()
    names, told = ActionNames(env), list[dict[str, Any]]()
    console = Console(stderr=True) if console is None else console
    try:
        for sentence in describe_left_out(env.describe()):
            say(console, f"left out   {sentence}")
        for number in range(config.num_episodes):
            stacks, total = played(agent, env, history, config.seed + number)
            drawn = _drawn_steps(len(stacks), config.num_drawn)
            whole = _all_steps(model, agent, stacks, drawn, config, out)
            title = f"{run.name}, episode {number + 1}, return {total:g}, {config.method}"
            moments = list(_moments(whole, stacks, drawn, names))
            draw_episode(moments, whole.shapley, config.score, title, out / f"episode-{number + 1}.png")
            told.append(_as_json(whole, total, drawn, names))
            lines = (f"{step}\t{line}\n" for step, line in enumerate(told[-1]["sentences"]))
            replace_text(out / f"episode-{number + 1}.txt", "".join(lines))
    finally:
        env.close()
    result = {
        "run": str(run),
        "step": step,
        "method": config.method,
        "score": config.score,
        "confidence": "softmax over actions",
        "episodes": told,
        "out": str(out),
    }
    drop_later(out, config.num_episodes)
    replace_text(out / "explanation.json", json.dumps(result, indent=1) + "\n")
    return result


def _model_of(agent: MultimodalDqn, history: int, method: str, run: Path) -> AsPictures:
    """Return the agent's network as the methods read it; `UsageError` if it has no layer for this one."""
    model = AsPictures(agent.network, history)
    has_streams = any(agent.network.encoder.stream_features)  # of a state alone there are no maps
    if has_streams and method not in LAYERLESS and model.layers == (None, None):
        raise UsageError(
            f"{method} needs convolutions, which no stream of {run} has: "
            "pass --method integrated-gradients or occlusion"
        )
    return model


def played(agent: MultimodalDqn, env: Any, history: int, seed: int) -> tuple[list[Stack], float]:
    """Play one episode greedily; return what the agent was given at each step, and the return."""
    stacks: list[Stack] = []

    def policy(stacked: History, envs: Any, running: list[int]) -> list[Action]:
        actions = stacked.act(agent, 0.0, running)
        stacks.append(stacked.stack(running))
        return actions

    totals, _ = play(policy, [env], UNTOUCHED, history=history, seed=seed)
    return stacks, totals[0]


def _drawn_steps(num_steps: int, num_drawn: int) -> list[int]:
    """Return which steps are drawn."""
    steps: list[int] = torch.linspace(0, num_steps - 1, min(num_drawn, num_steps)).round().long().tolist()
    return steps


def _all_steps(
    model: AsPictures,
    agent: MultimodalDqn,
    stacks: list[Stack],
    drawn: list[int],
    config: ExplainAgentConfig,
    out: Path,
) -> Explained:
    """Return what is known of an episode, and maps of its drawn steps: all would be gigabytes of a game."""
    parts = []
    moments = _moments_of(agent, stacks, config.batch_size)
    with Report(out, "spl explain agent", len(stacks), is_logged=False) as report:
        for first in range(0, len(stacks), config.batch_size):
            part = _batch(stacks[first : first + config.batch_size], agent.device)
            kept = [step - first for step in drawn if first <= step < first + config.batch_size]
            parts.append(_explained(model, agent, part, moments, kept, config))
            report.show(first + len(part.video), {"steps": len(stacks)})
    return _together(parts)


def _moments_of(agent: MultimodalDqn, stacks: list[Stack], batch_size: int) -> Streams:
    """Return moments of an episode that its decisions are compared with."""
    starts = range(0, len(stacks), batch_size)
    parts = (_batch(stacks[first : first + batch_size], agent.device) for first in starts)
    return spread(together([streams_of(agent, part) for part in parts]))


def _batch(stacks: list[Stack], device: torch.device) -> Stack:
    return Stack.of(stacks).to(device)


def _explained(
    model: AsPictures,
    agent: MultimodalDqn,
    part: Stack,
    moments: Streams,
    kept: list[int],
    config: ExplainAgentConfig,
) -> Explained:
    """Return what is known of some steps, and the maps of the ``kept`` ones; all on the CPU."""
    inputs = as_pictures(*part)
    with torch.no_grad():
        values = agent.network(*part).float()  # (S, A)
    actions = best(values, agent.network.sizes)
    score = SCORES[config.score](actions, agent.network.sizes)
    maps: Maps = (None, None)
    if any(agent.network.encoder.stream_features):
        maps = METHODS[config.method](model, model.layers, inputs, score)
    full, masked = (
        _confidence(model, x, actions, agent.network.sizes) for x in (inputs, explained(inputs, maps))
    )
    norm = agent.network.state
    no_state = None if norm is None else norm.norm.mean  # as normalised, zeros
    given = tuple(one for one in part if one is not None)
    shapley = shapley_values(agent.network, given, score, no_state=no_state)
    video_maps, audio_maps = (None if one is None else one[kept].cpu() for one in maps)
    shapley = shapley.each(Tensor.cpu)
    evidence = evidence_for(agent, part, actions, moments)
    told = actions.cpu(), values.cpu(), shapley, full.cpu(), masked.cpu(), evidence
    return Explained(*told, video_maps, audio_maps)


def _confidence(model: AsPictures, inputs: Inputs, actions: Tensor, sizes: Sizes) -> Tensor:
    """Return the softmax ``(B,)`` over all actions at ``actions``, in evaluation mode."""
    with borrowed(model), torch.no_grad():
        return probability(model(*map(lent, several(inputs))), actions, sizes)


def _together(parts: list[Explained]) -> Explained:
    def join(fields: tuple[Any, ...]) -> Any:
        if isinstance(fields[0], Shapley):
            found = [None if values[0] is None else torch.cat(values) for values in zip(*fields, strict=True)]
            return Shapley(*found)  # type: ignore[arg-type]
        if isinstance(fields[0], list):
            return [one for field in fields for one in field]
        return None if fields[0] is None else torch.cat(fields)

    return Explained(*(join(fields) for fields in zip(*parts, strict=True)))


def _moments(told: Explained, stacks: list[Stack], drawn: list[int], names: ActionNames) -> Iterator[Moment]:
    """Yield the steps that are drawn."""
    for number, step in enumerate(drawn):
        _, strip, *_ = as_pictures(*stacks[step])  # (1, C, M, T F)
        loudest = strip.abs().amax() if strip.numel() else strip.new_ones(())
        sound = (255 * strip[0].abs().mean(dim=0) / loudest.clamp(min=1e-6)).to(torch.uint8)
        yield Moment(
            step=step,
            action=names.of(as_action(told.actions[step])),
            probability=float(told.full[step]),
            video=stacks[step].video[0, -1] if stacks[step].video.numel() else None,
            audio=sound if strip.numel() else None,
            video_map=None if told.video_maps is None else told.video_maps[number],
            audio_map=None if told.audio_maps is None else told.audio_maps[number],
        )


def _as_json(told: Explained, total: float, drawn: list[int], names: ActionNames) -> dict[str, Any]:
    shares = zip(NAMES, told.shapley.whole_shares(), strict=False)
    state = told.shapley.state
    return {
        "return": total,
        "steps": len(told.actions),
        **{f"share_of_{name}": share for name, share in shares},
        "average_drop": average_drop(told.full, told.masked),
        "average_increase": average_increase(told.full, told.masked),
        "drawn": drawn,
        "sentences": [
            sentence(names.of(as_action(action)), evidence)
            for action, evidence in zip(told.actions, told.evidence, strict=True)
        ],
        "actions": told.actions.tolist(),
        "probabilities": told.full.tolist(),
        "q_values": told.values.tolist(),
        "video": told.shapley.video.tolist(),
        "audio": told.shapley.audio.tolist(),
        **({} if state is None else {"state": state.tolist()}),
    }


def print_explanation(result: dict[str, Any]) -> None:
    """Print an episode's figures and the sentences of its drawn steps, what they mean, and where they are."""
    for number, one in enumerate(result["episodes"], start=1):
        played = f"return {one['return']:g} in {one['steps']:,} steps"
        parts = (name for name in NAMES if f"share_of_{name}" in one)
        acted = "acted " + ", ".join(f"{one[f'share_of_{name}']:.0%} on the {name}" for name in parts)
        told = f"average drop {one['average_drop']:.1f} %, increase {one['average_increase']:.1f} %"
        print(f"episode {number}: {played}; {acted}; {told}")
        for step in one["drawn"]:
            print(f"  step {step}  {one['sentences'][step]}")
    print(f"shares are of the {result['score']} of the chosen action: exact Shapley values")
    print(f"drop and increase are of its {result['confidence']}, with both streams multiplied by their maps")
    print("sentences: how often the action would be another with a modality of another, similar moment")
    print(f"written to   {result['out']}")
