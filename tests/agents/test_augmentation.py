"""Random changes of what is learned: each by hand, alike over a stack, drawn anew, resumed and refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spl.agents.augmentation import Augmentation, amplified, masked, shifted, shifted_in_time
from spl.agents.dqn_config import DqnConfig
from spl.agents.train import train_agent
from spl.config.errors import UsageError
from spl.records import Batch, Following, StreamSpec
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, state_of

SPEC = StreamSpec((1, 12, 10), (1, 8, 4))
ALL = {"video_shift": 4, "audio_shift": 3, "audio_mask": 5, "audio_gain_db": 6.0}


def augmentation(seed: int = 0, spec: StreamSpec = SPEC, **options: Any) -> Augmentation:
    return Augmentation(DqnConfig(**options), spec, np.random.default_rng(seed))


def batch_of(num: int, spec: StreamSpec = SPEC, steps: int = 3) -> Batch:
    """Return a batch whose next observation is equal, and all frames of each stack."""
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(1, 256, (num, 1, *spec.video), dtype=torch.uint8, generator=generator)
    audio = (0.2 + 0.6 * torch.rand(num, 1, *spec.audio, generator=generator)).half()
    seen = video.repeat(1, steps, 1, 1, 1), audio.repeat(1, steps, 1, 1, 1), torch.ones(num, 2).bool()
    numbers = torch.zeros(num, dtype=torch.int64), torch.zeros(num), torch.ones(num)
    return Batch(*seen, *numbers, *seen, *[torch.zeros(num, 0)] * 2)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values)


def test_a_shift_by_hand_repeats_the_border() -> None:
    picture = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 1, 3, 3).repeat(3, 2, 1, 1, 1)  # 012 345 678
    moved = shifted(picture, numbers(1, 0, -2), numbers(0, 2, -1))
    assert moved.dtype == torch.uint8
    assert moved[0, 0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]  # one down
    assert moved[1, 0, 0].tolist() == [[0, 0, 0], [3, 3, 3], [6, 6, 6]]  # two to the right
    assert moved[2, 0, 0].tolist() == [[7, 8, 8]] * 3  # two up, one to the left
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_it_is_drq_s_pad_and_crop() -> None:
    batch = batch_of(5)
    down, right = numbers(-4, 4, 0, 3, -1), numbers(4, -4, 0, -2, 1)
    wide = torch.nn.functional.pad(batch.video.flatten(1, 2).float(), (4, 4, 4, 4), mode="replicate")
    cropped = [
        one[:, 4 - y : 16 - y, 4 - x : 14 - x]
        for one, y, x in zip(wide, down.tolist(), right.tolist(), strict=True)
    ]
    expected = torch.stack(cropped).reshape(batch.video.shape)
    assert torch.equal(shifted(batch.video, down, right).float(), expected)


def test_time_shifts_over_the_whole_stack_by_hand() -> None:
    # two steps of two audio frames in two bands: 1 2 | 3 4 and 5 6 | 7 8
    sound = torch.tensor([[[[1.0, 2.0], [5.0, 6.0]]], [[[3.0, 4.0], [7.0, 8.0]]]])[None]
    later, sooner = (shifted_in_time(sound, numbers(by))[0] for by in (1, -3))
    assert later.tolist() == [[[[1.0, 1.0], [5.0, 5.0]]], [[[2.0, 3.0], [6.0, 7.0]]]]
    assert sooner.tolist() == [[[[4.0, 4.0], [8.0, 8.0]]]] * 2


def test_masked_bands_by_hand() -> None:
    sound = torch.ones(3, 2, 1, 4, 2)
    bands = masked(sound, numbers(1, 0, 3), numbers(2, 0, 1)).amax(dim=(2, 4))  # (B, T, M)
    assert bands.tolist() == [[[1, 0, 0, 1]] * 2, [[1, 1, 1, 1]] * 2, [[1, 1, 1, 0]] * 2]


def test_gain_by_hand_within_the_levels() -> None:
    levels = (
        torch.tensor([0.0, 0.05, 0.5, 0.97], dtype=torch.float16).reshape(1, 1, 1, 2, 2).repeat(2, 1, 1, 1, 1)
    )
    found = amplified(levels, numbers(10.0, -10.0))
    assert found.dtype == torch.float16
    assert found[0].flatten().tolist() == pytest.approx([0.0, 0.15, 0.6, 1.0], abs=1e-3)
    assert found[1].flatten().tolist() == pytest.approx([0.0, 0.0, 0.4, 0.87], abs=1e-3)


def test_gain_of_a_waveform_by_hand() -> None:
    wave = torch.tensor([[100, -100, 3, 0]], dtype=torch.int8).reshape(1, 1, 1, 1, 4).repeat(2, 1, 1, 1, 1)
    louder = 20 * np.log10(2)
    found = amplified(wave, numbers(louder, -louder))
    assert found.dtype == torch.int8
    assert found.flatten(1).tolist() == [[127, -128, 6, 0], [50, -50, 2, 0]]
    halved = amplified(torch.full((1, 1, 1, 1, 2), 0.5, dtype=torch.float16), numbers(-louder))
    assert halved.flatten().tolist() == pytest.approx([0.25, 0.25], abs=1e-3)


def test_a_draw_holds_for_a_stack_and_no_further() -> None:
    batch = batch_of(16)
    soon = Following(batch.reward, batch.discount, batch.video, batch.audio, batch.present, batch.state)
    changed, later = augmentation(video_shift=4, audio_mask=5, audio_gain_db=6.0)(batch, soon)
    assert later is not None
    pairs = [
        (changed.video, changed.audio),
        (changed.next_video, changed.next_audio),
        (later.video, later.audio),
    ]
    for video, audio in pairs:
        assert (video.dtype, audio.dtype) == (torch.uint8, torch.float16)
        assert torch.equal(video, video[:, :1].expand_as(video))
        assert torch.equal(audio, audio[:, :1].expand_as(audio))
    for one, two in ((0, 1), (0, 2), (1, 2)):  # drawn independently
        assert not torch.equal(pairs[one][0], pairs[two][0])
        assert not torch.equal(pairs[one][1], pairs[two][1])
    assert torch.equal(changed.reward, batch.reward)


def test_draws_reach_both_ends_and_no_further() -> None:
    picture = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 1, 8, 8).repeat(500, 1, 1, 1, 1)
    spec = StreamSpec((1, 8, 8), (1, 8, 4))
    batch = batch_of(500, spec, steps=1)._replace(video=picture, next_video=picture)
    batch = batch._replace(audio=torch.full_like(batch.audio, 0.5))
    changed, _ = augmentation(spec=spec, video_shift=2, audio_mask=3, audio_gain_db=5.0)(batch)
    middle = changed.video[:, 0, 0, 4, 4].long() - 36  # -(8 down + right)
    assert {*middle.tolist()} == {8 * y + x for y in range(-2, 3) for x in range(-2, 3)}
    levels = changed.audio[:, 0, 0, :, 0].float()  # (B, M)
    is_masked = levels == 0
    assert {*is_masked.sum(dim=1).tolist()} == {0, 1, 2, 3}
    assert is_masked.any(dim=0).all()  # each band, the first and the last too
    gained = levels.amax(dim=1) - 0.5
    assert gained.min().item() == pytest.approx(-0.05, abs=2e-3)
    assert gained.max().item() == pytest.approx(0.05, abs=2e-3)


def test_the_same_seed_draws_the_same_and_a_state_goes_on() -> None:
    batch = batch_of(8)
    one, two, three = (augmentation(seed, **ALL) for seed in (0, 0, 1))
    first, again, other = (each(batch)[0] for each in (one, two, three))
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.next_audio, again.next_audio)
    assert not torch.equal(first.video, other.video)
    three.load_state_dict(one.state_dict())
    assert torch.equal(three(batch)[0].audio, one(batch)[0].audio)


def test_what_is_learned_is_changed_and_what_is_scored_is_not() -> None:
    plain, changing = Bench(), Bench(**{**ALL, "audio_mask": 2})
    for bench in (plain, changing):
        bench.collect(30)
    batch = plain.memory.at(plain.memory.draw(8, np.random.default_rng(0)))
    assert torch.equal(plain.agent.score(batch), changing.agent.score(batch))
    assert not torch.equal(plain.agent.losses(batch), changing.agent.losses(batch))
    expected = Augmentation(changing.agent.config, plain.memory.spec, np.random.default_rng(7))(batch)[0]
    assert changing.agent.augmentation is not None
    changing.agent.augmentation.generator = np.random.default_rng(7)
    assert torch.equal(changing.agent.losses(batch), plain.agent.losses(expected))


def test_a_run_that_augments_resumes_to_the_bit(smoke) -> None:
    words = [word for name, value in ALL.items() for word in (f"--agent.{name}", str(value))]
    words += ["--agent.thirds", "asymmetric", "--agent.n_step", "2", "--agent.precision", "bfloat16"]
    config = smoke(*words, "--num_steps", "110")
    whole = state_of(train_agent(config, console=quiet()).folder)
    folder = train_agent(replace(config, num_steps=97), console=quiet()).folder
    assert state_of(train_agent(config, resume=folder, console=quiet()).folder) == whole


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        (SPEC._replace(video=(0, 0, 0)), {"video_shift": 4}, "video_shift=4 needs pictures, and .* has none"),
        (SPEC, {"video_shift": 10}, "video_shift=10 leaves nothing of 10 pixels: set --agent.video_shift 0"),
        (SPEC._replace(audio=(0, 0, 0)), {"audio_gain_db": 3.0}, "audio_gain_db=3 needs sound"),
        (SPEC._replace(audio=(1, 1, 512)), {"audio_shift": 3}, "audio_shift=3 needs sound as log-mel"),
        (SPEC._replace(audio=(1, 1, 512)), {"audio_mask": 3}, "audio_mask=3 needs sound as log-mel"),
        (SPEC, {"audio_mask": 8}, "audio_mask=8 leaves nothing of 8 mel bands"),
    ],
)
def test_what_does_not_fit_the_streams_is_refused(spec, options, told) -> None:
    with pytest.raises(ValueError, match=told):
        augmentation(spec=spec, **options)


def test_a_command_says_so(smoke) -> None:
    words = ["--env.audio_features", "waveform", "--encoder.audio_stream", "mlp", "--agent.audio_mask", "2"]
    with pytest.raises(UsageError, match=r"audio_mask=2 needs sound as log-mel, not a waveform or none"):
        train_agent(smoke(*words), console=quiet())
