"""Attention within a stream: that it is alive from the start, what options it has, and what old runs had."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spl.attention import ATTENTION
from spl.attention.stream import RESIDUAL, StreamAttention, gain_of, stream_attention
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.models.encoder import EncoderConfig
from spl.models.pictures import ByteConv2d
from spl.models.streams import VIDEO_STREAMS, VideoStream, conv_stream

NAMES = [name for name in get_args(StreamAttention) if name != "none"]
NUM_SEEDS = 60


@pytest.fixture(scope="module")
def frames() -> Tensor:
    env = make_env(EnvConfig(id="spl/Beacon-v0", video_size=(64, 64)))
    env.reset(seed=0)
    seen = [np.asarray(env.step(int(step % env.action_space.n))[0].video) for step in range(8)]
    env.close()
    return torch.from_numpy(np.concatenate(seen)).reshape(2, 4, 64, 64)  # (B, T, H, W)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_a_gradient_whatever_the_seed(name: str, frames: Tensor) -> None:
    layers = VIDEO_STREAMS["small"]
    for seed in range(NUM_SEEDS):
        torch.manual_seed(seed)
        convs, _ = conv_stream(4, (64, 64), layers, ByteConv2d)
        attention = stream_attention(name, layers[-1].channels, {})
        features = convs(frames).detach()
        assert (features > 0).any()
        (attention(features) * torch.randn_like(features)).sum().backward()
        for place, parameter in attention.named_parameters():
            if place.endswith("key.bias"):  # it shifts all that is compared alike: its gradient is 0 exactly
                continue
            gradient = parameter.grad
            assert gradient is not None, place
            assert gradient.count_nonzero() > 0, (seed, place)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in NAMES), ("csm", {"spatial": "pooled"})], ids=str
)
def test_features_start_at_the_scale_that_they_have_without_attention(
    name: str, options: dict[str, Any], frames: Tensor
) -> None:
    ratios = []
    for seed in range(20):
        torch.manual_seed(seed)
        convs, _ = conv_stream(4, (64, 64), VIDEO_STREAMS["small"], ByteConv2d)
        attention = stream_attention(name, 32, options)
        with torch.no_grad():
            features = convs(frames)
            attended = gain_of(name, options, "neutral") * attention(features)
        ratios.append(float(attended.norm() / features.norm()))
    assert min(ratios) > 0.85
    assert max(ratios) < 1.45
    assert 0.95 < np.median(ratios) < 1.2


@pytest.mark.parametrize(
    ("name", "options", "gain"),
    [("none", {}, 1), ("sam", {}, 1), ("csm", {}, 2), ("csm", {"spatial": "pooled"}, 4), ("cbam", {}, 4)],
)
def test_the_gain_is_two_for_each_gate_and_one_in_runs_made_before(
    name: StreamAttention, options: dict[str, Any], gain: float
) -> None:
    assert gain_of(name, options, "neutral") == gain
    assert gain_of(name, options, "module") == 1


def test_a_neutral_start_is_what_doubled_weights_behind_it_compute(frames: Tensor) -> None:
    sizes: dict[str, Any] = {
        "history": 4,
        "layers": VIDEO_STREAMS["small"],
        "attention": "csm",
        "features": 8,
    }
    neutral = VideoStream((1, 64, 64), **sizes)
    before = VideoStream((1, 64, 64), **sizes, attention_start="module")
    before.load_state_dict(neutral.state_dict())
    with torch.no_grad():
        before.project.weight *= 2
        assert torch.allclose(neutral(frames[:, :, None]), before(frames[:, :, None]), rtol=1e-5, atol=1e-7)


def test_of_two_hidden_units_both_are_dead_in_some_seeds_without_pairs(frames: Tensor) -> None:
    layers, dead = VIDEO_STREAMS["small"], 0
    for seed in range(NUM_SEEDS):
        torch.manual_seed(seed)
        convs, _ = conv_stream(4, (64, 64), layers, ByteConv2d)
        gate = ATTENTION["se"](layers[-1].channels)
        hidden = torch.relu(gate.reduce(convs(frames).mean(dim=(2, 3))))  # (B, 2)
        dead += bool((hidden == 0).all())
    assert 3 <= dead <= 20  # a sixth of them


@pytest.mark.parametrize(
    ("channels", "hidden"), [(4, 4), (12, 12), (16, 8), (32, 8), (64, 8), (128, 8), (256, 16)]
)
def test_a_gate_has_eight_hidden_units_where_it_can(channels: int, hidden: int) -> None:
    weight = stream_attention("se", channels, {}).reduce.weight
    assert weight.shape == (hidden, channels)
    assert torch.equal(weight[0::2], -weight[1::2])
    assert len(weight[0::2].unique(dim=0)) == hidden // 2


def test_an_odd_number_of_hidden_units_keeps_the_last_as_drawn() -> None:
    weight = stream_attention("se", 15, {"reduction": 5}).reduce.weight  # 3 hidden
    assert torch.equal(weight[0], -weight[1])
    assert not torch.equal(weight[2].abs(), weight[0].abs())


@pytest.mark.parametrize("name", ["csm", "se", "cam", "cbam"])
def test_a_null_reduction_is_that_of_residual_nets(name: str) -> None:
    shapes = [
        {place: value.shape for place, value in module.state_dict().items()}
        for module in (ATTENTION[name](32), stream_attention(name, 32, {"reduction": None}))
    ]
    assert shapes[0] == shapes[1]
    assert any(shape == (2, 32) for shape in shapes[1].values())


@pytest.mark.parametrize("name", ["none", "eca", "sam", "ham"])
def test_a_null_reduction_is_nothing_where_nothing_is_reduced(name: str) -> None:
    stream_attention(name, 32, {"reduction": None})
    if name != "none":
        with pytest.raises(ValueError, match="has no option 'reduction'"):
            stream_attention(name, 32, {"reduction": 4})


def test_what_a_position_attention_adds_starts_small_and_not_at_nothing() -> None:
    gates = [stream_attention("csm", 32, {}).spatial.gamma, stream_attention("sam", 32, {}).gamma]
    gates += [one.gamma for one in stream_attention("rcca", 32, {}).rounds]
    assert [gate.item() for gate in gates] == pytest.approx([RESIDUAL] * 3)
    assert stream_attention("csm", 32, {"residual": False}).spatial.gamma is None


def test_ham_in_a_stream_is_the_same_in_training_and_evaluation() -> None:
    torch.manual_seed(0)
    module, x = stream_attention("ham", 32, {}), torch.rand(5, 32, 7, 7)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    together = module(x)
    torch.testing.assert_close(module.eval()(x[:1]), together[:1])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cbam", {"batch_norm": True}, "cbam with a batch norm acts on other statistics than it learns from"),
        ("ham", {"norm": "batch"}, "ham with a batch norm"),
        ("ham", {"norm": "group"}, "norm must be 'batch' or 'sample', got 'group'"),
        ("csm", {"reductoin": 4}, "has no option 'reductoin'; it has spatial, order, reduction"),
        ("csm", {"order": "sam"}, "order must be 'cam-sam' or 'sam-cam', got 'sam'"),
        ("se", {"reduction": 5}, r"reduction must divide channels \(32\), got 5"),
        ("none", {"bias": True}, "'none' has no option 'bias'"),
    ],
)
def test_what_cannot_be(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stream_attention(name, 32, options)


def test_options_are_checked_where_they_are_given() -> None:
    with pytest.raises(ValueError, match="has no option 'ratio'"):
        EncoderConfig(attention_options={"ratio": 4})
    assert EncoderConfig(attention="sam", attention_options={"query_reduction": 8})
