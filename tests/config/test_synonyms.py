"""What options were called before: runs of then are read, and the words of then lead to those of now."""

from pathlib import Path
from typing import Any

import pytest

from spl.agents.config import ALIASES, TrainAgentConfig
from spl.agents.studies.curriculum_ablation import CurriculaConfig
from spl.classify.config import TrainClassifierConfig
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.envs.check.config import CheckEnvConfig
from spl.pretrain.config import PretrainConfig
from spl.runs.directory import check_resumable, read_run, words_of_run

HINTS = {  # command and what is typed -> what the sentence asks
    "train agent --epochs 5": "--num_steps",
    "train agent --lr 1e-3": "--agent.learning_rate",
    "train agent --learning_rate 1e-3": "--agent.learning_rate",
    "train agent --batch-size 3": "--loop.batch_size",
    "train agent --env-id ALE/Pong-v5": "--env",
    "train agent --steps 5": "--num_steps",
    "train agent --total_timesteps 5": "--num_steps",
    "train agent --episodes 3": "--num_steps",
    "train agent --gpu 0": "--device",
    "train agent --cuda": "--device",
    "train agent --out x": "--runs",
    "train agent --output x": "--runs",
    "train agent --save_folder x": "--runs",
    "train agent --log_dir x": "--runs",
    "train agent --logdir x": "--runs",
    "train agent --folder x": "--runs",
    "train agent --n_envs 4": "--num_envs",
    "train agent --eval_freq 4": "--evaluate_every_steps",
    "train agent --n_eval_episodes 4": "--evaluate_episodes",
    "train agent --workers 3": "--num_envs",
    "train agent --gamma 0.9": "--agent.gamma",
    "train agent --buffer_size 3": "--memory.capacity",
    "train agent --checkpoint x": "--resume",
    "train agent --no-double": "--agent.double false",
    "train agent -env x": "--env",
    "train agent env=x": "--env",
    "train agent --agent.lr 3": "--agent.learning_rate",
    "train agent --curriculum.sense audio": "--curriculum.modality",
    "train agent --cfg x": "--config",
    "train agent --wandb true": "--track",
    "train classifier --epochs 3": "--recipe.epochs",
    "train classifier --out x": "--runs",
    "train classifier --lr 3": "--recipe.learning_rate",
    "train classifier --workers 3": "--data.num_workers",
    "train classifier --gamma 0.1": "--recipe.factor",
    "train classifier --name x": "--runs",
    "train classifier --arch resnet50": "--model",
    "ablate classifier --lr 3": "--recipe.learning_rate",
    "pretrain autoencoder --num_shown 3": "--num_drawn",
    "evaluate agent x --episodes 3": "--num_episodes",
    "evaluate agent x --seeds 3": "--num_seeds",
    "evaluate agent x --first_seed 3": "--seed",
    "evaluate classifier x --root y": "--data.root",
    "explain classifier x --methods y": "--method",
    "film x --seconds 3": "--duration_s",
    "film x --senses video": "--modalities",
    "record --steps 3": "--num_steps",
    "record --output x": "--out",
    "record --save_folder x": "--out",
    "bench --logdir x": "--out",
    "search agent --space y --n_trials 3": "--num_trials",
    "search agent --space y --eval_episodes 3": "--num_episodes",
    "check env x --capacity 3": "--memory.capacity",
    "models --models resnet20": "--model",
}


@pytest.mark.parametrize("typed", HINTS)
def test_a_word_of_others_leads_to_the_option_that_is_meant(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(typed.split()) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.endswith(f"(did you mean {HINTS[typed]}?)")


@pytest.mark.parametrize("typed", ["evaluate agent x --out y", "film x --lr 3", "export agent x --n_envs 3"])
def test_a_word_of_others_leads_nowhere_where_a_command_has_no_such_option(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(typed.split()) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.endswith("(see --help)")


def test_hyphens_stand_for_underscores_in_all_names(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("num-envs: 3\nagent:\n  n-step: 2\n")
    words = ["--config", str(path), "--env.video-size", "30,30", "--env.kwargs.a-b", "1", "--num-steps=9"]
    config = parse(TrainAgentConfig, words, prog="spl", aliases=ALIASES)
    assert (config.num_envs, config.agent.n_step, config.num_steps) == (3, 2, 9)
    assert (config.env.video_size, config.env.kwargs) == ((30, 30), {"a-b": 1})


EMPTY = [
    *(
        "train agent --runs=",
        "train agent --pretrained=",
        "train agent --resume=",
        "train classifier --runs=",
    ),
    *("train classifier --data.root=", "pretrain autoencoder --data.videos.cache=", "film x --out="),
    *(
        "pretrain autoencoder --data=",
        "pretrain autoencoder --data=['']",
        "explain agent x --out=",
        "report x --out=",
    ),
    *("explain classifier x --out=", "explain autoencoder x --out=", "record --out=", "record --agent="),
    *("evaluate classifier x --data.root=", "evaluate autoencoder x --against=", "train agent --runs=\t"),
]


@pytest.mark.parametrize("typed", EMPTY)
def test_an_empty_path_is_refused_in_a_sentence(
    typed: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(typed.split(" ")) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "must be a" in sentence
    assert sentence.endswith("; write . for the current folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["evaluate", "agent", ""], ["film", " "], ["report", ""]])
def test_an_empty_run_is_refused_in_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert "must be a folder, got '" in capsys.readouterr().err


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
    now = parse(config_class, words_of_run(config_class, tmp_path), prog="spl")
    check_resumable(before, now, ())


def test_an_option_of_then_may_have_moved_into_a_section(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("capacity: 9\nmemory:\n")
    config = parse(CheckEnvConfig, ["--config", str(path)], prog="spl")
    assert config.memory.capacity == 9
    path.write_text("capacity: 9\nmemory: {capacity: 8}\n")
    with pytest.raises(UsageError, match=r"'capacity' and 'memory\.capacity' in .* are one option"):
        parse(CheckEnvConfig, ["--config", str(path)], prog="spl")


@pytest.mark.parametrize("text", ["num_drawn: 2\nnum_shown: 3\n", "num_shown: 3\nnum_drawn: 2\n"])
def test_a_name_of_then_beside_that_of_now_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse(PretrainConfig, ["--config", str(path)], prog="spl")
    first, second = (line.split(":")[0] for line in text.splitlines())
    assert str(caught.value) == f"{first!r} and {second!r} in {path} are one option: leave one out"
