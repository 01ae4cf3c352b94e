"""The options of pretraining's objective at the ends of their ranges."""

import pytest

from spl.pretrain.objective import ObjectiveConfig


def test_a_temperature_is_above_0() -> None:
    assert ObjectiveConfig(alignment="infonce", temperature=1e-9).temperature == 1e-9
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        ObjectiveConfig(temperature=0.0)


@pytest.mark.parametrize("name", ["video_weight", "audio_weight"])
def test_one_stream_s_error_may_count_nothing_but_not_both(name: str) -> None:
    assert getattr(ObjectiveConfig(**{name: 0.0}), name) == 0.0
    with pytest.raises(ValueError, match="video_weight and audio_weight must not both be 0"):
        ObjectiveConfig(video_weight=0.0, audio_weight=0.0)


def test_shares_include_both_ends() -> None:
    assert ObjectiveConfig(block=0.0, sparsity_target=1.0).sparsity_target == 1.0
    with pytest.raises(ValueError, match=r"block must be in \[0, 1\], got 1\.1"):
        ObjectiveConfig(block=1.1)
