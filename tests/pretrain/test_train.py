"""``spl pretrain autoencoder``: a run from its first update to its last, stopped, killed, resumed."""

import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from rich.console import Console
from torch import Tensor

from spl.cli.main import main
from spl.config.errors import RunError, UsageError
from spl.config.parse import dump, parse
from spl.data.audiovisual import read_ahead
from spl.pretrain.config import MAY_CHANGE, PretrainConfig, build_model, measure
from spl.pretrain.data import ViewOrder, load_pairs
from spl.pretrain.evaluation.gallery import Gallery
from spl.pretrain.learner import Learner, build_learner
from spl.pretrain.load import read_autoencoder
from spl.pretrain.objective import ObjectiveConfig
from spl.pretrain.train import Result, pretrain_autoencoder
from spl.pretrain.training import Training
from spl.runs import checkpoint
from spl.runs.directory import check_resumable

Maker = Callable[..., PretrainConfig]
ALL = ("--objective.noise", "0.1", "--objective.block", "0.3", "--objective.sparsity", "kl")
OPTIONS = {
    "plain": (),
    "corrupted, sparse": (*ALL, "--encoder.code_activation", "sigmoid"),
    "paced": ("--curriculum.name", "self-paced", "--curriculum.scheme", "linear", "--recipe.epochs", "3"),
    "paced, aligned": ("--curriculum.name", "anti", "--objective.alignment", "squared"),
    "corrupted, aligned": (*ALL[:4], "--objective.alignment", "squared", "--recipe.warmup_epochs", "1"),
}
DENSE = {
    "encoder.video_stream": "dense",
    "encoder.audio_stream": "dense",
    "encoder.attention": "none",
    "encoder.video_widths": "32,24",
    "encoder.audio_widths": "32,24",
    "encoder.video_features": "16",
    "encoder.audio_features": "16",
    "encoder.features": "16",
}


@pytest.fixture
def small(tmp_path: Path) -> Maker:
    """A maker of configurations that learn from a recording of 40 steps, 5 updates an epoch."""
    folder = toy.record(tmp_path / "recording", 40, 0)

    def make(*argv: str) -> PretrainConfig:
        fixed = {
            **DENSE,
            "data.paths": str(folder),
            "data.history": "1",
            "recipe.epochs": "2",
            "recipe.batch_size": "24",
            "recipe.learning_rate": "0.003",
            "num_threads": "1",
            "num_drawn": "0",
            "device": "cpu",
            "runs": str(tmp_path / "runs"),
        }
        words = [word for key, value in fixed.items() for word in (f"--{key}", value)]
        return parse(PretrainConfig, [*words, *argv], prog="spl")

    return make


def train(config: PretrainConfig, resume: Path | None = None, told: io.StringIO | None = None) -> Result:
    console = Console(file=io.StringIO() if told is None else told)
    return pretrain_autoencoder(config, resume=resume, command=["test"], console=console)


def weights(folder: Path) -> dict[str, Tensor]:
    learner = checkpoint.load(folder / "checkpoints")["learner"]
    moments = [moment for one in learner["optimizer"]["state"].values() for moment in one.values()]
    return {
        **learner["encoder"],
        **learner["decoders"],
        **{f"moment {place}": moment for place, moment in enumerate(moments)},
    }


def rows(folder: Path) -> list[dict[str, float]]:
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in told]


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_run_begins_at_the_mean_and_learns_each_modality_from_the_other(small: Maker):
    result = train(small("--recipe.epochs", "60", "--recipe.learning_rate", "0.005"))
    assert result.is_finished
    first, last = rows(result.folder)[0], rows(result.folder)[-1]
    assert len(rows(result.folder)) == 60
    assert last["step"] == 60 * 5  # 40 samples, 3 views each, 24 at a time
    for modality in ("video", "audio"):
        assert 0.7 < first[f"train/{modality}_from_both"] < 1.1, "no worse than the mean from the start"
    assert last["train/audio_from_audio"] < 0.3
    assert last["train/audio_from_video"] < 0.4, "the pitch is seen"
    assert last["train/video_from_video"] < 0.8
    assert last["train/video_from_audio"] < 0.85, "the spot's column is heard"
    assert {"config.yaml", "command.txt", "signature.json", "metrics.jsonl", "checkpoints"} <= {
        path.name for path in result.folder.iterdir()
    }
    signature = json.loads((result.folder / "signature.json").read_text())
    assert signature == load_pairs(small().data).signature


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_before_the_first_update_the_mean_is_predicted(kind: str, tmp_path: Path):
    config = PretrainConfig(data=replace(PretrainConfig().data, paths=(str(recorded(tmp_path)),)))
    if kind == "dense":
        config = replace(
            config,
            encoder=replace(config.encoder, video_stream="dense", audio_stream="dense", attention="none"),
        )
    source = load_pairs(config.data)
    moments = measure(source, 0)
    learner = build_learner(config, source, moments, 10)
    pairs = source.pairs(np.arange(len(source)))
    made = learner.model(pairs.video, pairs.audio, pairs.present)
    for output, found in zip(made[:2], moments, strict=True):
        expected = found.mean.clamp(1e-3, 1 - 1e-3).expand_as(output)
        torch.testing.assert_close(output, expected, rtol=0, atol=0.01)
    parts = learner.update(pairs, torch.arange(len(source)) % 3)
    for modality, has in enumerate(pairs.present.T):
        assert parts.errors[has, modality].mean().item() == pytest.approx(1.0, abs=0.02)
    later = [learner.update(pairs, torch.arange(len(source)) % 3).errors.mean() for _ in range(15)]
    assert later[-1] < 0.97, "it can leave the mean"


def recorded(folder: Path) -> Path:
    """A recording that a convolution can read."""
    from spl.records import StreamSpec
    from tests.data.test_recordings import record

    return record(folder / "large", [9, 9], spec=StreamSpec((1, 36, 36), (1, 16, 4)))


@pytest.mark.parametrize("batch_size", [3, 7, 30, 100])
def test_an_epoch_shows_each_sample_thrice_once_in_each_condition(batch_size: int):
    order = ViewOrder(10, batch_size=batch_size, views="thirds", is_aligned=False, seed=1, num_epochs=2)
    updates = list(order.after(0))
    assert len(updates) == order.num_updates == 2 * order.updates_per_epoch
    epochs = updates[: order.updates_per_epoch], updates[order.updates_per_epoch :]
    seen = []
    for epoch in epochs:
        views = [view for indices, conditions in epoch for view in zip(indices, conditions, strict=True)]
        assert sorted(views) == [(index, condition) for index in range(10) for condition in range(3)]
        seen.append(views)
    assert seen[0] != seen[1], "each epoch is shuffled anew"
    for number in (0, 1, order.updates_per_epoch, order.num_updates - 1):
        assert all(
            np.array_equal(one, two)
            for one, two in zip(next(order.after(number)), updates[number], strict=True)
        )


def test_aligned_views_of_a_sample_share_an_update():
    order = ViewOrder(10, batch_size=12, views="thirds", is_aligned=True, seed=0, num_epochs=1)
    updates = list(order.after(0))
    assert [len(indices) for indices, _ in updates] == [12, 12, 6]
    for indices, conditions in updates:
        blocks = indices.reshape(3, -1)
        assert (blocks == blocks[0]).all()
        assert conditions.reshape(3, -1)[:, 0].tolist() == [0, 1, 2]
    assert sorted(np.concatenate([indices for indices, _ in updates])) == sorted([*range(10)] * 3)


def test_other_views_are_always_one_or_drawn():
    def shown(views: str) -> tuple[list[int], list[int]]:
        order = ViewOrder(200, batch_size=50, views=views, is_aligned=False, seed=0, num_epochs=1)
        indices, conditions = (np.concatenate(parts) for parts in zip(*order.after(0), strict=True))
        return np.bincount(indices).tolist(), np.bincount(conditions, minlength=3).tolist()

    assert shown("both") == ([3] * 200, [600, 0, 0])
    assert shown("video") == ([3] * 200, [0, 600, 0])
    assert shown("audio") == ([3] * 200, [0, 0, 600])
    assert shown("thirds") == ([3] * 200, [200] * 3)
    times, kinds = shown("random")
    assert times == [3] * 200
    assert kinds != [200] * 3
    assert min(kinds) > 150


def test_reading_ahead_changes_nothing(small: Maker):
    source = load_pairs(small().data)
    order = ViewOrder(len(source), batch_size=9, views="thirds", is_aligned=False, seed=0, num_epochs=1)
    read = list(read_ahead(source, order.after(0)))
    assert [pairs.indices.tolist() for pairs, _ in read] == [one.tolist() for one, _ in order.after(0)]
    for pairs, _ in read[:2]:
        assert torch.equal(pairs.video, source.pairs(pairs.indices.numpy()).video)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(small: Maker):
    one, two, other = (train(small("--seed", seed)) for seed in ("3", "3", "4"))
    assert equal(weights(one.folder), weights(two.folder))
    assert rows(one.folder) == rows(two.folder)
    assert rows(one.folder) != rows(other.folder)


@pytest.mark.parametrize("after", [1, 5, 7])  # in the first epoch, at its end, in the second
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_stopped_run_goes_on_to_the_bit(
    small: Maker, monkeypatch: pytest.MonkeyPatch, after: int, options: tuple[str, ...]
):
    alone = train(small(*options))
    learn = Training._learn

    def stop_after(self: Training, *args: object) -> None:
        learn(self, *args)
        if self.learner.num_updates == after:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(small(*options))
    assert not stopped.is_finished
    monkeypatch.undo()
    resumed = train(small(*options), resume=stopped.folder)
    assert resumed.is_finished
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)
    again = train(small(*options), resume=stopped.folder)  # whole already: nothing is trained
    assert rows(again.folder) == rows(alone.folder)


@pytest.mark.slow  # one stopped in the process is tested above
def test_a_killed_run_goes_on_to_the_bit(small: Maker, tmp_path: Path):
    config = small(*OPTIONS["corrupted, aligned"])
    alone = train(config)
    kill = (
        "import os, signal, sys\n"
        "from spl.config.parse import parse\n"
        "from spl.pretrain.config import PretrainConfig\n"
        "from spl.pretrain.train import pretrain_autoencoder\n"
        "from spl.pretrain.training import Training\n"
        "learn = Training._learn\n"
        "def die(self, *args):\n"
        "    learn(self, *args)\n"
        "    if self.learner.num_updates == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Training._learn = die\n"
        "pretrain_autoencoder(parse(PretrainConfig, sys.argv[1:], prog='spl'))\n"
    )
    words = ["--config", str(alone.folder / "config.yaml"), "--runs", str(tmp_path / "killed")]
    done = subprocess.run([sys.executable, "-c", kill, *words], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    (folder,) = (tmp_path / "killed" / "autoencoder").iterdir()
    assert len(rows(folder)) == 1
    resumed = train(replace(config, runs=str(tmp_path / "killed")), resume=folder)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)


def test_pictures_that_a_kill_left_out_are_drawn_on_resuming(small: Maker, monkeypatch: pytest.MonkeyPatch):
    def die(self: Gallery, model: object, epoch: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Gallery, "show", die)
    with pytest.raises(KeyboardInterrupt):
        train(small("--recipe.epochs", "1", "--num_drawn", "2"))
    monkeypatch.undo()
    (folder,) = Path(small().runs, "autoencoder").iterdir()
    assert not list(folder.glob("reconstructions/*"))
    assert train(small("--recipe.epochs", "1", "--num_drawn", "2"), resume=folder).is_finished
    assert (folder / "reconstructions" / "epoch-0001.png").is_file()


@pytest.mark.parametrize("path", sorted(Path("configs/pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_are_read(path: Path):
    config = parse(PretrainConfig, ["--config", str(path), "--data.paths", "x"], prog="spl")
    assert config.objective.alignment == "squared"


LAYERS = ("--recipe.layer_epochs", "2", "--recipe.epochs", "1")  # 4 updates a layer


@pytest.mark.parametrize(
    "after", [1, 4, 7, 24, 26]
)  # in and at the end of a layer, at the end of all, beyond
def test_layers_alone_come_first_and_go_on_to_the_bit(
    small: Maker, monkeypatch: pytest.MonkeyPatch, after: int
):
    alone = train(small(*LAYERS))
    learn = Training._learn

    def stop_after(self: Training, *args: object) -> None:
        learn(self, *args)
        if self.num_updates == after:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(small(*LAYERS))
    assert not stopped.is_finished
    monkeypatch.undo()
    resumed = train(small(*LAYERS), resume=stopped.folder)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)
    layers = [row for row in rows(alone.folder) if "layer/loss" in row]
    assert [(row["layer/modality"], row["layer/number"]) for row in layers[::2]] == [
        *(("video", number) for number in range(3)),
        *(("audio", number) for number in range(3)),
    ]
    first, second = (sum(row["layer/loss"] for row in layers[epoch::2]) for epoch in (0, 1))
    assert second < 0.95 * first


@pytest.mark.parametrize(("words", "broken"), [(LAYERS, "_end_epoch_of_layer"), ((), "_end_epoch")])
def test_what_is_interrupted_at_the_end_of_an_epoch_goes_on_to_the_bit(
    small: Maker, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], broken: str
):
    alone = train(small(*words))

    def interrupt(self: Training) -> None:
        if self.num_updates in (4, 10):  # the first layer's last update; the last epoch's
            raise KeyboardInterrupt
        end(self)

    end = getattr(Training, broken)
    monkeypatch.setattr(Training, broken, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(small(*words))
    monkeypatch.undo()
    (stopped,) = [path for path in alone.folder.parent.iterdir() if path != alone.folder]
    resumed = train(small(*words), resume=stopped)
    assert equal(weights(resumed.folder), weights(alone.folder))
    assert rows(resumed.folder) == rows(alone.folder)


def test_the_best_of_several_initialisations_is_kept(small: Maker, monkeypatch: pytest.MonkeyPatch):
    config = small("--restarts", "3", "--recipe.epochs", "1")
    learn, num_calls = Training._learn, [0]

    def stop_in_the_second(self: Training, *args: object) -> None:
        learn(self, *args)
        num_calls[0] += 1
        if num_calls[0] == 7:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_in_the_second)
    said = io.StringIO()
    stopped = train(config, told=said)
    assert not stopped.is_finished
    assert said.getvalue().count("resume with: ") == 1
    assert said.getvalue().endswith(f"resume with: spl pretrain autoencoder --resume {stopped.folder}\n")
    with pytest.raises(UsageError, match="has 3 restarts that are not all trained: resume it first"):
        read_autoencoder(stopped.folder)
    monkeypatch.undo()
    result = train(config, resume=stopped.folder)
    assert result.is_finished
    told = json.loads((result.folder / "restarts.json").read_text())
    alone = [train(small("--seed", seed, "--recipe.epochs", "1")) for seed in ("0", "1", "2")]
    losses = [rows(one.folder)[-1]["train/loss"] for one in alone]
    assert told["loss"] == losses
    assert len(set(losses)) == 3
    assert told["mean"] == pytest.approx(sum(losses) / 3)
    best = losses.index(min(losses))
    assert told["kept"] == f"restart-{best}"
    assert [path.parent.name for path in result.folder.glob("restart-*/checkpoints")] == [told["kept"]]
    assert equal(weights(result.folder / told["kept"]), weights(alone[best].folder))
    expected = read_autoencoder(alone[best].folder).model.state_dict()
    assert equal(read_autoencoder(result.folder).model.state_dict(), expected)
    assert train(config, resume=stopped.folder).is_finished  # whole already: nothing is trained
    assert json.loads((result.folder / "restarts.json").read_text()) == told


def test_a_restart_that_fails_does_not_take_the_others_along(small: Maker, monkeypatch: pytest.MonkeyPatch):
    learn = Training._learn

    def fail(self: Training, *args: object) -> None:
        if self.config.seed == 1:
            raise RunError("planted")
        learn(self, *args)

    monkeypatch.setattr(Training, "_learn", fail)
    said = io.StringIO()
    result = train(small("--restarts", "3", "--recipe.epochs", "1"), told=said)
    assert result.is_finished
    told = json.loads((result.folder / "restarts.json").read_text())
    assert told["failed"] == {"restart-1": "planted"}
    assert len(told["loss"]) == 2
    assert "\nrestart-1 failed: planted\n" in said.getvalue()
    assert f"{told['kept']} is kept, the best of 2" in said.getvalue()


def test_the_command_trains_stops_for_nobody_and_tells_what_comes_next(
    small: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "options.yaml").write_text(dump(small()))
    assert main(["pretrain", "autoencoder", "--config", str(tmp_path / "options.yaml")]) == 0
    told = capsys.readouterr().err
    (folder,) = Path(small().runs, "autoencoder").iterdir()
    assert f"finished; evaluate with: spl evaluate autoencoder {folder}" in told
    assert main(["pretrain", "autoencoder", "--resume", str(folder), "--seed", "7"]) == 2
    assert "got --seed 7 (the run has 0)" in capsys.readouterr().err
    assert main(["pretrain", "autoencoder", "--resume", str(folder), "--num_drawn", "1"]) == 0
    assert main(["evaluate", "autoencoder", str(folder)]) == 0
    assert "nothing is held out" in capsys.readouterr().out
    assert main(["pretrain", "autoencoder", "--runs", str(tmp_path / "none")]) == 2
    assert "there is nothing to learn from: give --data FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def learned(config: PretrainConfig, num_updates: int = 4) -> Tensor:
    """The weights of the encoder after so many updates, in one row."""
    source = load_pairs(config.data)
    order = ViewOrder(
        len(source),
        batch_size=24,
        views=config.objective.views,
        is_aligned=config.objective.alignment != "none",
        seed=0,
        num_epochs=4,
    )
    learner = build_learner(config, source, measure(source, config.seed), order.num_updates)
    for pairs, conditions in read_ahead(source, order.after(order.num_updates - num_updates)):
        learner.update(pairs, torch.from_numpy(conditions))
    return torch.cat([parameter.detach().flatten() for parameter in learner.model.encoder.parameters()])


ALIGNED = ObjectiveConfig(alignment="infonce")
SPARSE = ObjectiveConfig(sparsity="squared")
THIRTEEN = tuple(
    0.05 * number for number in range(1, 14)
)  # three layers a stream and its mirror, and the code


@pytest.mark.parametrize(
    ("usual", "changes"),
    [
        (ObjectiveConfig(), {"views": "random"}),
        (ObjectiveConfig(), {"views": "both"}),
        (ObjectiveConfig(), {"views": "video"}),
        (ObjectiveConfig(), {"views": "audio"}),
        (ObjectiveConfig(), {"video_weight": 0.5}),
        (ObjectiveConfig(), {"audio_weight": 0.0}),
        (ALIGNED, {"alignment": "none"}),
        (ALIGNED, {"alignment": "squared"}),
        (ALIGNED, {"alignment_weight": 0.5}),
        (ALIGNED, {"temperature": 0.5}),
        (SPARSE, {"sparsity": "none"}),
        (SPARSE, {"sparsity": "l1"}),
        (SPARSE, {"sparsity_target": 0.5}),
        (SPARSE, {"sparsity_weight": 1.0}),
        (SPARSE, {"sparsity_of": "all"}),
        (replace(SPARSE, sparsity_of="all"), {"sparsity_per_layer": THIRTEEN}),
        (ObjectiveConfig(), {"noise": 0.1}),
        (ObjectiveConfig(), {"block": 0.2}),
        (ObjectiveConfig(), {"shift": 1}),
    ],
    ids=str,
)
def test_each_option_of_the_objective_changes_what_is_learned(
    small: Maker, usual: ObjectiveConfig, changes: dict
):
    config = small("--data.history", "2")
    first, second = (
        learned(replace(config, objective=objective)) for objective in (usual, replace(usual, **changes))
    )
    assert first.isfinite().all()
    assert not torch.equal(first, second)


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_an_autoencoder_of_one_modality_learns_nothing_of_the_other(small: Maker, modality: str):
    other = "audio" if modality == "video" else "video"
    objective = ObjectiveConfig(views=modality, **{f"{other}_weight": 0.0})  # type: ignore[arg-type]
    config = replace(small(), objective=objective)
    source = load_pairs(config.data)
    order = ViewOrder(40, batch_size=24, views=objective.views, is_aligned=False, seed=0, num_epochs=1)
    learner = build_learner(config, source, measure(source, config.seed), order.num_updates)
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    for pairs, conditions in read_ahead(source, order.after(0)):
        learner.update(pairs, torch.from_numpy(conditions))
    moved = {
        name for name, tensor in learner.model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert not any(name.startswith((f"encoder.{other}.", f"{other}.")) for name in moved)
    for part in (f"encoder.{modality}.", "encoder.fuse.", f"{modality}."):
        assert any(name.startswith(part) for name in moved), part


def test_every_option_of_the_objective_is_tried():
    (mark,) = test_each_option_of_the_objective_changes_what_is_learned.pytestmark
    assert {name for _, changes in mark.args[1] for name in changes} == set(vars(ObjectiveConfig()))


@pytest.mark.parametrize(
    "words",
    [
        ("--recipe.epochs", "3"),
        ("--recipe.batch_size", "12"),
        ("--recipe.learning_rate", "0.01"),
        ("--recipe.schedule", "constant"),
        ("--recipe.warmup_epochs", "1"),
        ("--recipe.max_grad_norm", "0.01"),
        ("--recipe.layer_epochs", "1"),
    ],
    ids=str,
)
def test_each_option_of_the_recipe_changes_what_is_learned(small: Maker, words: tuple[str, str]):
    usual, changed = train(small()), train(small(*words))
    assert not equal(weights(usual.folder), weights(changed.folder))


def test_a_loss_that_is_not_a_number_ends_the_run_and_is_saved(small: Maker, monkeypatch: pytest.MonkeyPatch):
    update = Learner.update

    def poison(self: Learner, *args: object) -> object:
        if self.num_updates == 3:
            with torch.no_grad():
                self.model.encoder.fuse.weight[0, 0] = math.nan
        return update(self, *args)

    monkeypatch.setattr(Learner, "update", poison)
    with pytest.raises(
        RunError, match=r"update 4 was not taken: the loss is nan.*batch-3.safetensors; a smaller --recipe"
    ):
        train(small())
    (folder,) = Path(small().runs, "autoencoder").iterdir()
    assert checkpoint.load(folder / "checkpoints")["learner"]["num_updates"] == 3
    from safetensors.torch import load_file

    batch = load_file(folder / "batch-3.safetensors")
    assert set(batch) == {"video", "audio", "present", "labels", "indices", "conditions"}
    assert len(batch["conditions"]) == 24


def test_weights_follow_from_the_seed_whatever_was_drawn_before(small: Maker):
    state, encoder = torch.get_rng_state(), small().encoder
    first = build_model(encoder, toy.SPEC, 1, 5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert equal(first, build_model(encoder, toy.SPEC, 1, 5).state_dict())
    assert not equal(first, build_model(encoder, toy.SPEC, 1, 6).state_dict())


def test_what_may_change_on_resuming(small: Maker):
    check_resumable(small(), small("--num_threads", "2", "--checkpoint_every_minutes", "1"), MAY_CHANGE)
    with pytest.raises(UsageError, match=r"--recipe.epochs 3 \(the run has 2\)"):
        check_resumable(small(), small("--recipe.epochs", "3"), MAY_CHANGE)


def test_other_data_are_refused_on_resuming(small: Maker, tmp_path: Path):
    result = train(small())
    other = recorded(tmp_path)
    with pytest.raises(UsageError, match=r"the run learned from .*recording, which is gone; bring back what"):
        train(small("--data.paths", str(other)), resume=result.folder)


@pytest.mark.parametrize(("num_steps", "seed"), [(50, 0), (40, 1)], ids=["longer", "as long"])
def test_another_recording_in_the_same_place_is_refused_on_resuming(
    num_steps: int, seed: int, small: Maker, tmp_path: Path
):
    result = train(small("--recipe.epochs", "1"))
    shutil.rmtree(tmp_path / "recording")
    toy.record(tmp_path / "recording", num_steps, seed)
    with pytest.raises(UsageError, match=r"from which the run learned, has changed; bring back what"):
        train(small("--recipe.epochs", "1"), resume=result.folder)


WRONG = {
    "nothing to learn from": (["--data.paths", "[]"], "there is nothing to learn from: give --data FOLDER"),
    "no data": (["--data.paths", "nowhere"], "there is no folder or file nowhere: give recordings"),
    "no match": (["--data.paths", "no*.mp4"], "nothing matches no*.mp4: give recordings"),
    "no path": (["--data.paths", "['']"], "--data.paths must be a list, each a path, got"),
    "too small": (["--encoder.video_stream", "small"], "the input is too small for a convolution"),
    "batch": (["--recipe.batch_size", "2"], "batch_size must be at least 3, got 2"),
    "nothing learned": (
        ["--objective.video_weight", "0", "--objective.audio_weight", "0"],
        "objective: video_weight and audio_weight must not both be 0",
    ),
    "unaligned": (
        ["--objective.alignment", "squared", "--objective.views", "both"],
        "alignment=squared needs views=thirds, got both",
    ),
    "key": (["--recipe.epoch", "3"], "unknown option --recipe.epoch (did you mean --recipe.epochs?)"),
    "layers": (["--recipe.layer_epochs", "-1"], "layer_epochs must be at least 0"),
    "layers of convolutions": (
        ["--recipe.layer_epochs", "1", "--encoder.audio_stream", "mlp", "--encoder.audio_widths", "256,128"],
        "recipe.layer_epochs (1): greedy pre-training goes layer by layer through dense streams, got",
    ),
    "restarts": (["--restarts", "0"], "restarts must be at least 1, got 0"),
    "device": (["--device", "gpu"], "device must be cpu, cuda, cuda:N, mps or auto, got 'gpu'"),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_sentence(small: Maker, tmp_path: Path, words: list[str], sentence: str):
    if "small" in words:
        words = [*words, "--encoder.video_widths", "512,256"]
    with pytest.raises(UsageError) as told:
        train(small(*words))
    assert sentence in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/*")), "a refused run leaves no folder behind"


def test_silence_teaches_nothing(small: Maker, tmp_path: Path):
    folder = toy.record(tmp_path / "silent", 9, 0, is_silent=True)
    with pytest.raises(UsageError, match="there is nothing to learn: the audio is the same in all samples"):
        train(small("--data.paths", str(folder)))
