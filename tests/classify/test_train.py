"""``spl train classifier``: a run from its first update to its last, stopped, resumed, restarted, judged."""

import io
import json
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from spl.classify.config import MAY_CHANGE, RecipeConfig, TrainClassifierConfig, build_model
from spl.classify.evaluation.evaluate import EvaluateClassifierConfig, evaluate_classifier
from spl.classify.evaluation.tables import print_result
from spl.classify.learner import ClassifierLearner
from spl.classify.load import read_classifier
from spl.classify.model import Classifier, evaluating
from spl.classify.train import Result, train_classifier
from spl.classify.training import Training
from spl.cli.main import main
from spl.config.errors import RunError, UsageError
from spl.config.parse import parse
from spl.models.image.weights import read_weights
from spl.runs import checkpoint
from spl.runs.directory import check_resumable

Maker = Callable[..., TrainClassifierConfig]


def train(config: TrainClassifierConfig, resume: Path | None = None) -> Result:
    return train_classifier(config, resume=resume, command=["test"], console=Console(file=io.StringIO()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load(folder / "checkpoints")["classifier"]
    return {**state["model"], **{f"ema {key}": value for key, value in (state["averaged"] or {}).items()}}


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    return [{key: value for key, value in row.items() if "second" not in key} for row in told]


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_run_learns_and_leaves_what_it_should(tiny: Maker):
    config = tiny("--recipe.epochs", "16", "--data.augmentation", "none")
    result = train(config)
    assert result.is_finished
    assert result.scores["last"]["top1"] >= 5 / 6
    assert result.scores["best"]["top1"] == max(row["test/top1"] for row in rows(result.folder))
    assert len(rows(result.folder)) == 16
    assert rows(result.folder)[-1]["step"] == 16 * 3  # 18 images, 6 at a time
    names = {
        "config.yaml",
        "command.txt",
        "metrics.jsonl",
        "checkpoints",
        "best",
        "result.json",
        "confusion.png",
    }
    assert names <= {path.name for path in result.folder.iterdir()}
    assert (
        parse(TrainClassifierConfig, ["--config", str(result.folder / "config.yaml")], prog="spl") == config
    )
    cells = [line.split(",")[1:] for line in (result.folder / "confusion.csv").read_text().splitlines()[1:]]
    assert sum(int(cell) for row in cells for cell in row) == 6
    first, last = rows(result.folder)[0], rows(result.folder)[-1]
    assert last["train/loss"] < first["train/loss"]
    assert first["train/top1"] < 0.8 < last["train/top1"]


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(tiny: Maker):
    one, two, other = (train(tiny("--seed", seed)) for seed in ("3", "3", "4"))
    assert equal(weights(one.folder), weights(two.folder))
    assert rows(one.folder) == rows(two.folder)
    assert rows(one.folder) != rows(other.folder)


@pytest.mark.parametrize("after", [1, 3, 4])  # in the first epoch, at its end, in the second
@pytest.mark.parametrize(
    "options", [(), ("--recipe.ema_decay", "0.5", "--data.augmentation", "resized-crop-flip")]
)
def test_a_stopped_run_goes_on_to_the_bit(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, after: int, options: tuple[str, ...]
):
    alone = train(tiny(*options))
    learn = Training._learn

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == after:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(tiny(*options))
    assert not stopped.is_finished
    assert not (stopped.folder / "result.json").exists()
    monkeypatch.undo()
    resumed = train(tiny(*options), resume=stopped.folder)
    assert resumed.is_finished
    assert resumed.scores == alone.scores
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)
    again = train(tiny(*options), resume=stopped.folder)  # whole already: nothing is trained
    assert again.scores == alone.scores


@pytest.mark.parametrize("where", ["update", "score"])
def test_a_run_interrupted_in_the_midst_of_something_goes_on_to_the_bit(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
):
    alone = train(tiny())
    whole, num_calls = getattr(Classifier, where), [0]

    def interrupted(self: Classifier, *args: object) -> object:
        num_calls[0] += 1
        result = whole(self, *args)
        if num_calls[0] == 2:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Classifier, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny("--runs", str(tmp_path / "interrupted")))
    monkeypatch.undo()
    (folder,) = (tmp_path / "interrupted" / "classifier").iterdir()
    resumed = train(tiny("--runs", str(tmp_path / "interrupted")), resume=folder)
    assert resumed.scores == alone.scores
    assert equal(weights(folder), weights(alone.folder))
    assert rows(folder) == rows(alone.folder)


def test_a_run_killed_between_its_last_save_and_its_result_gets_its_result(tiny: Maker):
    whole = train(tiny())
    (whole.folder / "result.json").unlink()
    resumed = train(tiny(), resume=whole.folder)
    assert resumed.is_finished
    assert resumed.scores == whole.scores


def test_a_killed_run_goes_on_to_the_bit(tiny: Maker, pictures: Path, tmp_path: Path):
    config = tiny()
    alone = train(config)
    kill = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from spl.cli.main import main\n"
        "from spl.classify.training import Training\n"
        "learn = Training._learn\n"
        "def die(self, batch):\n"
        "    learn(self, batch)\n"
        "    if self.classifier.num_updates == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Training._learn = die\n"
        "main(sys.argv[1:])\n"
    )
    (tmp_path / "run.yaml").write_text((alone.folder / "config.yaml").read_text())
    words = [
        "train",
        "classifier",
        "--config",
        str(tmp_path / "run.yaml"),
        "--runs",
        str(tmp_path / "killed"),
    ]
    done = subprocess.run([sys.executable, "-c", kill, *words], capture_output=True, check=False)
    assert done.returncode == -9
    folder = next((tmp_path / "killed" / "classifier").iterdir())
    assert len(rows(folder)) == 1
    resumed = train(replace(config, runs=str(tmp_path / "killed")), resume=folder)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)


def test_restarts_keep_the_best_and_tell_all(tiny: Maker):
    result = train(tiny("--restarts", "3", "--recipe.epochs", "1"))
    restarts = result.scores["restarts"]
    assert len(restarts["top1"]) == 3
    assert result.scores["last"]["top1"] == max(restarts["top1"])
    assert restarts["mean"] == pytest.approx(sum(restarts["top1"]) / 3)
    kept = {path.parent.name for path in result.folder.glob("restart-*/checkpoints")}
    assert kept == {restarts["kept"]}
    seeds = [
        json.loads(path.read_text())["seed"] for path in sorted(result.folder.glob("restart-*/result.json"))
    ]
    assert seeds == [0, 1, 2]
    assert evaluate_classifier(result.folder, EvaluateClassifierConfig())["top1"] == max(restarts["top1"])
    started = read_weights(str(result.folder), "resnet20").tensors
    alone = read_weights(str(result.folder / restarts["kept"]), "resnet20").tensors
    assert all(torch.equal(one, alone[key]) for key, one in started.items())
    (result.folder / "result.json").unlink()
    with pytest.raises(UsageError, match="its restarts are not all trained: resume it first"):
        read_weights(str(result.folder), "resnet20")


def test_evaluation_equals_what_training_said(tiny: Maker, capsys: pytest.CaptureFixture[str]):
    result = train(tiny("--recipe.epochs", "4", "--recipe.ema_decay", "0.5"))
    last = evaluate_classifier(result.folder, EvaluateClassifierConfig())
    best = evaluate_classifier(result.folder, EvaluateClassifierConfig(checkpoint="best"))
    assert {key: last[key] for key in ("top1", "top5", "loss")} == result.scores["last"]
    assert last["classes"] == result.scores["classes"]
    assert best["top1"] == result.scores["best"]["top1"]
    assert main(["evaluate", "classifier", str(result.folder), "--checkpoint", "best"]) == 0
    assert "best weights" in capsys.readouterr().out
    assert (result.folder / "evaluation-best.png").exists()
    classifier, sets, *_ = read_classifier(result.folder, "last")
    assert classifier.judged is not classifier.model
    assert sets.classes == ("blue", "green", "red")


def test_an_evaluation_tells_of_images_that_are_others_by_now(
    tiny: Maker, capsys: pytest.CaptureFixture[str]
):
    config = tiny("--recipe.epochs", "1")
    folder = train(config).folder
    assert evaluate_classifier(folder, EvaluateClassifierConfig())["changed"] is None
    pictures = sorted(Path(config.data.root).glob("red/*"))
    for number, path in enumerate(pictures):
        shutil.copy(path, path.with_stem(f"more-{number}"))
    assert main(["evaluate", "classifier", str(folder)]) == 0
    told = "the held-out images are not those of the training (6 then, 8 now): it may have learned from some"
    assert told in capsys.readouterr().out


def test_an_evaluation_that_a_full_disk_does_not_take_says_so(tiny: Maker):
    folder = train(tiny("--recipe.epochs", "1")).folder
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match=f"^cannot save the evaluation in {folder}: File too large; "):
            evaluate_classifier(folder, EvaluateClassifierConfig())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 2 * 2, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


def classifier(recipe: RecipeConfig, **options: object) -> Classifier:
    torch.manual_seed(0)
    return Classifier(
        Linear(),
        recipe,
        updates_per_epoch=2,
        stats=((0.5,) * 3, (0.25,) * 3),
        device=torch.device("cpu"),
        seed=0,
        **options,
    )


def batch_of(number: int = 4) -> "object":
    from spl.data.loading import Images

    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (number, 3, 2, 2), dtype=torch.uint8, generator=generator)
    return Images(images, torch.arange(number) % 2, torch.arange(number))


def test_an_update_by_hand():
    recipe = RecipeConfig(learning_rate=0.5, schedule="constant", momentum=0.0, weight_decay=0.1)
    learner, batch = classifier(recipe), batch_of()
    weight = learner.model.fc.weight.detach().clone()
    x = ((batch.images / 255.0 - 0.5) / 0.25).flatten(1)
    shares = torch.softmax(x @ weight.T, dim=1)
    gradient = (shares - nn.functional.one_hot(batch.labels, 2)).T @ x / 4 + 0.1 * weight
    loss, num_right, losses = learner.update(batch)
    assert losses.tolist() == pytest.approx((-shares[torch.arange(4), batch.labels].log()).tolist(), rel=1e-5)
    assert loss.item() == pytest.approx(-shares[torch.arange(4), batch.labels].log().mean().item(), rel=1e-5)
    assert num_right == ((x @ weight.T).argmax(dim=1) == batch.labels).sum()
    torch.testing.assert_close(learner.model.fc.weight, weight - 0.5 * gradient)


@pytest.mark.parametrize(
    "recipe",
    [
        RecipeConfig(label_smoothing=0.3),
        RecipeConfig(momentum=0.0),
        RecipeConfig(nesterov=True),
        RecipeConfig(weight_decay=0.0),
        RecipeConfig(warmup_epochs=2),
        RecipeConfig(max_grad_norm=1e-3),
        RecipeConfig(schedule="step", milestones=(1,)),
        RecipeConfig(schedule="constant"),
        RecipeConfig(learning_rate=0.2),
    ],
    ids=lambda recipe: str({k: v for k, v in vars(recipe).items() if v != getattr(RecipeConfig(), k)}),
)
def test_each_option_of_the_recipe_changes_what_is_learned(recipe: RecipeConfig):
    usual, changed = classifier(RecipeConfig()), classifier(recipe)
    for _ in range(4):
        usual.update(batch_of())
        changed.update(batch_of())
    assert not torch.equal(usual.model.fc.weight, changed.model.fc.weight)


def test_the_average_of_the_weights_is_what_is_judged():
    learner = classifier(RecipeConfig(ema_decay=0.75))
    learner.update(batch_of())
    first = learner.model.fc.weight.detach().clone()
    learner.update(batch_of())
    expected = 0.75 * first + 0.25 * learner.model.fc.weight.detach()
    torch.testing.assert_close(learner.judged.fc.weight.detach(), expected)


def test_the_curriculum_weighs_each_sample():
    recipe = RecipeConfig(momentum=0.0, weight_decay=0.0, schedule="constant")
    chosen, alone = classifier(recipe), classifier(recipe)
    loss, _, losses = chosen.update(batch_of(), torch.eye(4)[0])
    assert not losses.requires_grad
    single = batch_of()._replace(images=batch_of().images[:1], labels=batch_of().labels[:1])
    expected = alone.update(single).loss
    assert loss.item() == pytest.approx(expected.item() / 4)


@pytest.mark.parametrize("options", [{"is_bfloat16": True}, {"is_channels_last": True}])
def test_precision_and_layout_give_nearly_the_same(options: dict):
    torch.manual_seed(1)
    plainly, other = classifier(RecipeConfig()), classifier(RecipeConfig(), **options)
    for _ in range(3):
        plainly.update(batch_of())
        other.update(batch_of())
    tolerance = 2e-2 if "is_bfloat16" in options else 1e-6
    torch.testing.assert_close(other.model.fc.weight, plainly.model.fc.weight, rtol=tolerance, atol=tolerance)
    assert torch.equal(other.model.fc.weight, plainly.model.fc.weight) == (
        options == {"is_channels_last": True}
    )
    assert other.model.fc.weight.dtype == torch.float32


def test_scoring_leaves_each_module_in_its_mode():
    learner = classifier(RecipeConfig())
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with evaluating(model):
        assert not model[0].training
    assert model[0].training
    assert not model[1].training
    assert 0.0 <= learner.score([batch_of()], 2).top1 <= 1.0


def test_a_loss_that_is_not_a_number_ends_the_run_and_is_saved(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    update = Classifier.update

    def poison(self: Classifier, batch: object, weights: object) -> object:
        if self.num_updates == 4:
            with torch.no_grad():
                self.model.layer2[0].conv1.weight[0, 0] = math.nan
        return update(self, batch, weights)

    monkeypatch.setattr(Classifier, "update", poison)
    with pytest.raises(
        RunError, match=r"update 5 was not taken: the loss is nan.*batch-4.safetensors; --debug_anomaly"
    ):
        train(tiny())
    sentence = (
        r"update 5 was not taken: layer2.0.conv1 \(Conv2d\) gives .* as its parameter weight is not finite"
    )
    with pytest.raises(RunError, match=sentence):
        train(tiny("--debug_anomaly", "true"))


def test_an_update_that_is_not_taken_leaves_nothing_behind(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    alone = train(tiny())
    inputs, calls = Classifier.inputs, []

    def fail_once(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        calls.append(images)
        return inputs(self, images) * (math.nan if len(calls) == 5 else 1.0)

    monkeypatch.setattr(Classifier, "inputs", fail_once)
    with pytest.raises(RunError, match="was not taken"):
        train(tiny())
    monkeypatch.undo()
    folder = max(alone.folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    assert folder != alone.folder
    resumed = train(tiny(), resume=folder)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)


def test_scores_that_are_not_numbers_end_the_run(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    score = ClassifierLearner.score
    monkeypatch.setattr(ClassifierLearner, "score", lambda self: score(self)._replace(loss=math.nan))
    with pytest.raises(RunError, match="after epoch 1 the loss on the held-out images is nan"):
        train(tiny())


def test_a_run_broken_off_while_it_is_judged_goes_on_to_the_bit(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    alone, score = train(tiny()), ClassifierLearner.score

    def break_off(self: ClassifierLearner) -> object:
        raise UsageError("an image cannot be read")

    monkeypatch.setattr(ClassifierLearner, "score", break_off)
    with pytest.raises(UsageError, match="cannot be read"):
        train(tiny())
    monkeypatch.setattr(ClassifierLearner, "score", score)
    folder = max(alone.folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    resumed = train(tiny(), resume=folder)
    assert resumed.scores == alone.scores
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)


def test_an_unfinished_run_is_judged_and_told_so(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    learn = Training._learn

    def stop_at_once(self: Training, batch: object) -> None:
        learn(self, batch)
        self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_at_once)
    stopped = train(tiny())
    assert not stopped.is_finished
    assert main(["evaluate", "classifier", str(stopped.folder)]) == 0
    assert "the run is not finished" in capsys.readouterr().out


def test_other_images_are_refused(tiny: Maker, pictures: Path):
    result = train(tiny("--recipe.epochs", "1"))
    (result.folder / "result.json").unlink()
    (pictures / "red" / "0.png").unlink()
    with pytest.raises(UsageError, match=r"cannot be resumed: its images .* have changed"):
        train(tiny("--recipe.epochs", "1"), resume=result.folder)
    (pictures / "red").rename(pictures / "pink")
    with pytest.raises(UsageError, match="it names blue, green, red, not blue, green, pink"):
        evaluate_classifier(result.folder, EvaluateClassifierConfig())


def test_a_restart_that_fails_does_not_take_the_others_along(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    learn = Training._learn

    def fail(self: Training, batch: object) -> None:
        if self.config.seed == 1:
            raise RunError("planted")
        learn(self, batch)

    monkeypatch.setattr(Training, "_learn", fail)
    result = train(tiny("--restarts", "3", "--recipe.epochs", "1"))
    assert result.is_finished
    assert result.scores["restarts"]["failed"] == {"restart-1": "planted"}
    assert len(result.scores["restarts"]["top1"]) == 2


def test_class_names_may_look_like_mathematics(
    tiny: Maker, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    (pictures / "red").rename(pictures / "$5_$10")
    (pictures / "blue").rename(pictures / "[red]a")
    result = train(tiny("--recipe.epochs", "1"))
    print_result(result.scores, result.folder)
    told = capsys.readouterr().out
    assert "$5_$10" in told
    assert "[red]a" in told


def test_weights_follow_from_the_seed_whatever_was_drawn_before(tiny: Maker):
    state = torch.get_rng_state()
    first = build_model(tiny().model, 3, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again, other = build_model(tiny().model, 3, 5), build_model(tiny().model, 3, 6)
    assert equal(first.state_dict(), again.state_dict())
    assert not torch.equal(first.fc.weight, other.fc.weight)


def test_what_may_change_on_resuming(tiny: Maker):
    check_resumable(tiny(), tiny("--data.num_workers", "2", "--checkpoint_every_minutes", "1"), MAY_CHANGE)
    with pytest.raises(UsageError, match=r"--recipe.epochs 3 \(the run has 2\)"):
        check_resumable(tiny(), tiny("--recipe.epochs", "3"), MAY_CHANGE)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "resnet21"], "model: there is no network 'resnet21'; did you mean"),
        (["--attention", "cms"], "model: there is no attention 'cms'; did you mean 'csm'"),
        (["--data", "cifar11"], "--data must be one of 'digits', 'cifar10'"),
        (["--data", "cifar10", "--data.root", "nowhere"], "cifar10 is not in nowhere"),
        (["--recipe.epoch", "3"], "unknown option --recipe.epoch (did you mean --recipe.epochs?)"),
        (["--recipe.batch_size", "0"], "recipe: batch_size must be at least 2, got 0"),
        (["--recipe.momentum", "1"], "recipe: momentum must be in [0, 1), got 1.0"),
        (["--recipe.nesterov", "true", "--recipe.momentum", "0"], "nesterov needs a momentum above 0"),
        (["--recipe.warmup_epochs", "99"], "warmup_epochs must be at most epochs (16), got 99"),
        (["--recipe.learning_rate", "inf"], "recipe: learning_rate must be at most 1e+09, got inf"),
        (["--recipe.milestones=-5,3"], "milestones must all be at least 1, got -5"),
        (["--seed", "99999999999999999999"], "seed must be in 0..4294967295"),
        (["--data.download", "true"], "download is for cifar10, cifar100, stl10, got it for digits"),
        (["--data.padding", "2"], "padding has no effect with digits and augmentation=affine, got 2"),
        (["--data.root", "mine"], "data: root has no effect with digits, got mine; choose name=folder"),
        (["--data.label_noise", "2"], "data: label_noise must be in [0, 1], got 2.0"),
        (["--curriculum", "self-pased"], "--curriculum must be one of 'uniform', 'self-paced'"),
        (["--curriculum", "self-paced", "--curriculum.start", "0"], "curriculum: start must be in (0, 1]"),
        (["--curriculum", "predefined"], "curriculum: difficulty must name a .npy or .csv file"),
        (
            ["--curriculum", "predefined", "--curriculum.difficulty", "nowhere.npy"],
            "nowhere.npy cannot be read: No such file or directory",
        ),
        (["--restarts", "0"], "restarts must be at least 1, got 0"),
        (["--device", "gpu"], "device must be cpu, cuda, cuda:N, mps or auto, got 'gpu'"),
        (["--model.attention_options.ratio", "3", "--attention", "csm"], "ratio"),
        (["--resume", "nowhere"], "nowhere is not a run directory: it has no config.yaml"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "classifier", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/*"))  # no folder is left behind


def test_presets_are_valid():
    files = sorted((Path(__file__).parents[2] / "configs" / "classifier").glob("*.yaml"))
    assert len(files) == 7
    for file in files:
        config = parse(TrainClassifierConfig, ["--config", str(file)], prog="spl")
        with torch.device("meta"):
            assert build_model(config.model, 10, 0) is not None
    hams = [file for file in files if file.stem in ("cifar10", "cifar100", "stl10")]
    for config in (parse(TrainClassifierConfig, ["--config", str(file)], prog="spl") for file in hams):
        recipe = config.recipe
        assert (recipe.epochs, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (
            200,
            0.1,
            0.9,
            5e-4,
        )
        assert (recipe.milestones, recipe.factor) == ((60, 120, 160), 0.2)
        is_stl = config.data.name == "stl10"
        assert (recipe.batch_size, config.data.padding) == ((64, 12) if is_stl else (128, 4))


@pytest.mark.slow
def test_the_default_run_reads_handwriting(tmp_path: Path):
    result = train(TrainClassifierConfig(runs=str(tmp_path)))
    assert result.scores["last"]["top1"] >= 0.985


def test_a_light_network_trains_with_dropout_and_goes_on_to_the_bit(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ("--model", "mobilenet_v3_small", "--attention", "se", "--recipe.epochs", "1")
    alone = train(tiny(*words))
    learn = Training._learn

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == 2:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(tiny(*words))
    monkeypatch.undo()
    torch.rand(3)
    resumed = train(tiny(*words), resume=stopped.folder)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert (
        evaluate_classifier(alone.folder, EvaluateClassifierConfig())["top1"] == alone.scores["last"]["top1"]
    )
    explain = ["explain", "classifier", str(alone.folder), "--num_drawn", "1", "--num_measured", "2"]
    assert main([*explain, "--layers", "stages", "--num_curve_steps", "2"]) == 0
    told = json.loads((alone.folder / "explanation" / "measures.json").read_text())
    layers = [one["layer"] for one in told["runs"]]
    assert layers == ["features.1", "features.3", "features.8", "features.12"]


def test_two_light_networks_learn_from_each_others_maps(tiny: Maker):
    peer = ("--transfer.peer", "squeezenet1_1", "--data.image_size", "32")
    result = train(tiny("--model", "shufflenet_v2_x1_0", *peer, "--recipe.epochs", "1"))
    assert result.scores["peer"]["model"] == "squeezenet1_1"
    assert rows(result.folder)[-1]["train/maps_distance"] > 0


def test_pictures_that_are_too_small_for_a_network_are_refused_before_it_begins(tiny: Maker):
    with pytest.raises(
        UsageError, match=r"squeezenet1_1 needs pictures of at least 17 x 17, got .*image_size 16"
    ):
        train(tiny("--model", "squeezenet1_1"))
