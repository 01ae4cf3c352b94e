"""What options were called before: runs of then are read, and the words of then lead to those of now."""

from pathlib import Path
from typing import Any

import pytest

from spl.agents.curricula import CurriculaConfig
from spl.agents.run import TrainAgentConfig
from spl.classify.run import TrainClassifierConfig
from spl.config import UsageError, parse
from spl.envs.checkup import CheckEnvConfig
from spl.pretrain.run import PretrainConfig
from spl.runs import check_resumable, read_run

OF_THEN: dict[str, tuple[type[Any], str, Any]] = {  # config.yaml of then, and what it says now
    "agent": (
        TrainAgentConfig,
        "curriculum:\n  name: self-paced\n  sense: audio\n",
        lambda config: config.curriculum.modality == "audio",
    ),
    "grid of agents": (CurriculaConfig, "episodes: 7\nseeds: 0-1\n", lambda config: config.num_episodes == 7),
    "autoencoder": (PretrainConfig, "num_shown: 9\nseed: 3\n", lambda config: config.num_drawn == 9),
    "classifier": (
        TrainClassifierConfig,
        "precision: bf16\nseed: 2\n",
        lambda config: config.precision == "bfloat16",
    ),
}


@pytest.mark.parametrize("name", OF_THEN)
def test_a_run_of_then_is_read_and_resumed(name: str, tmp_path: Path) -> None:
    config_class, text, says = OF_THEN[name]
    (tmp_path / "config.yaml").write_text(text)
    before = read_run(config_class, tmp_path, tmp_path)
    assert says(before)
    now = parse(config_class, ["--config", str(tmp_path / "config.yaml")], prog="spl")
    check_resumable(before, now, ())


def test_an_option_of_then_may_have_moved_into_a_section(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("capacity: 9\nmemory:\n")
    config = parse(CheckEnvConfig, ["--config", str(path)], prog="spl")
    assert config.memory.capacity == 9
    path.write_text("capacity: 9\nmemory: {capacity: 8}\n")
    with pytest.raises(UsageError, match=r"'capacity' and 'memory\.capacity' are one option"):
        parse(CheckEnvConfig, ["--config", str(path)], prog="spl")


@pytest.mark.parametrize("text", ["num_drawn: 2\nnum_shown: 3\n", "num_shown: 3\nnum_drawn: 2\n"])
def test_a_name_of_then_beside_that_of_now_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse(PretrainConfig, ["--config", str(path)], prog="spl")
    assert str(caught.value) == "'num_shown' and 'num_drawn' are one option: leave one out"
