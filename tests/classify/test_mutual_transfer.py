"""``spl train classifier --transfer.peer``: two classifiers that learn together, saved, resumed, judged."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from spl.classify.config import TrainClassifierConfig, peer_of
from spl.classify.evaluation.evaluate import EvaluateClassifierConfig, evaluate_classifier
from spl.classify.model import Classifier, build_classifier
from spl.classify.mutual_transfer import Mutual
from spl.classify.train import Result, train_classifier
from spl.classify.training import Training
from spl.cli.main import main
from spl.config.errors import UsageError
from spl.data.images.datasets import load_images
from spl.data.loading import Pictures, augmentation, batches, in_order
from spl.models.image.network_table import NETWORKS
from spl.runs import checkpoint
from spl.saliency.local_transfer import global_map, map_distance, placed, tapped

Maker = Callable[..., TrainClassifierConfig]
PEER = ("--transfer.peer", "resnet20")


def train(config: TrainClassifierConfig, resume: Path | None = None) -> Result:
    return train_classifier(config, resume=resume, command=["test"], console=Console(file=io.StringIO()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(folder / "checkpoints")["classifier"]["model"])


def rows(folder: Path) -> list[dict[str, float]]:
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in told]


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("kind", "clip"), [("maps", ()), ("predictions", ("--recipe.max_grad_norm", "0.5"))])
def test_with_weight_0_each_learns_as_alone(tiny: Maker, kind: str, clip: tuple[str, ...]):
    alone = train(tiny(*clip))
    config = tiny(*PEER, "--transfer.weight", "0", "--transfer.kind", kind, *clip)
    both = train(config)
    assert equal(weights(alone.folder), weights(both.folder))
    assert not equal(weights(both.folder / "peer"), weights(both.folder))  # weights of its own
    told, lone = rows(both.folder)[-1], rows(alone.folder)[-1]
    assert lone.items() <= told.items()
    assert told[f"train/{kind}_distance"] > 0  # what they differ by is reported all the same


def test_a_pair_leaves_two_runs_that_can_be_judged_and_explained(tiny: Maker, capsys):
    result = train(tiny("--transfer.peer", "resnet32", "--model.attention", "se"))
    peer = result.folder / "peer"
    row = rows(result.folder)[-1]
    told = json.loads((peer / "result.json").read_text())
    assert told["model"] == "resnet32"
    assert told["last"]["top1"] == row["peer/test/top1"]
    assert result.scores["peer"] == {key: told[key] for key in ("model", "attention", "last", "best")}
    for folder, name in ((result.folder, "test/top1"), (peer, "peer/test/top1")):
        judged = evaluate_classifier(folder, EvaluateClassifierConfig(device="cpu"))
        assert judged["top1"] == row[name]
        assert judged["run_is_finished"]
        evaluate_classifier(folder, EvaluateClassifierConfig(device="cpu", checkpoint="best"))
    words = ["--method", "grad-cam", "--num_drawn", "2", "--num_curve_steps", "2", "--device", "cpu"]
    assert main(["explain", "classifier", str(result.folder), str(peer), *words]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "resnet20 se, maps of resnet32" in printed
    assert "resnet32, maps of resnet20" in printed
    assert 0 < row["train/maps_distance"] < 2


PACED = ("--curriculum", "self-paced", "--curriculum.scheme", "linear", "--data.label_noise", "0.2")


@pytest.mark.parametrize(
    ("after", "more"),
    [
        pytest.param(1, (), marks=pytest.mark.slow),
        pytest.param(
            3, ("--transfer.kind", "predictions", "--recipe.ema_decay", "0.5"), marks=pytest.mark.slow
        ),
        pytest.param(4, ("--recipe.ema_decay", "0.5"), marks=pytest.mark.slow),
        (4, PACED),
    ],
)
def test_a_stopped_pair_goes_on_to_the_bit(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch, after: int, more: tuple[str, ...]
):
    options = (*PEER, *more)
    alone, learn = train(tiny(*options)), Training._learn

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == after:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(tiny(*options))
    monkeypatch.undo()
    assert not stopped.is_finished
    assert not (stopped.folder / "peer" / "result.json").exists()
    resumed = train(tiny(*options), resume=stopped.folder)
    assert resumed.scores == alone.scores
    assert rows(resumed.folder) == rows(alone.folder)
    for name in ("", "peer"):
        assert equal(weights(resumed.folder / name), weights(alone.folder / name))


@pytest.mark.slow  # a pair that is stopped in the process is tested above
def test_a_killed_pair_goes_on_to_the_bit_whatever_the_peers_folder_holds(tiny: Maker, tmp_path: Path):
    config = tiny(*PEER)
    alone = train(config)
    kill = (
        "import os, signal, sys\n"
        "from spl.cli.main import main\n"
        "from spl.classify.learner import ClassifierLearner\n"
        "save = ClassifierLearner.save\n"
        "def die(self, *state):\n"
        "    if self.folder.name == 'peer' and self.classifier.num_updates == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"  # the run is saved and the peer is not
        "    save(self, *state)\n"
        "ClassifierLearner.save = die\n"
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
    assert done.returncode == -9, done.stderr
    folder = next((tmp_path / "killed" / "classifier").iterdir())
    assert len(rows(folder)) == 1
    resumed = train(replace(config, runs=str(tmp_path / "killed")), resume=folder)
    assert rows(folder) == rows(alone.folder)
    assert resumed.scores == alone.scores
    for name in ("", "peer"):
        assert equal(weights(folder / name), weights(alone.folder / name))


def pair_of(config: TrainClassifierConfig) -> tuple[Mutual, list[Classifier], object]:
    sets = load_images(config.data)
    pair = [build_classifier(one, sets, 3) for one in (config, peer_of(config))]
    pictures = Pictures(sets.train, augmentation(config.data, sets.size), 0)
    (batch,) = batches(pictures, in_order(6, 6), num_workers=0, is_pinned=False)
    stages = (NETWORKS[config.model.name].stages, NETWORKS[config.transfer.peer].stages)
    return Mutual(pair[0], pair[1], config.transfer, sets.size, stages), pair, batch


@pytest.mark.parametrize(
    "words",
    [
        ("--transfer.kind", "predictions"),
        ("--transfer.kind", "attention"),
        ("--transfer.kind", "fsp"),
        ("--transfer.weight", "3"),
        ("--transfer.layers", "layer2"),
        ("--transfer.power", "2"),
        ("--transfer.grid", "2"),
        ("--transfer.overlap", "0.5"),
        ("--transfer.below", "0.1"),
        ("--transfer.is_joint", "true"),
    ],
)
def test_each_option_changes_what_both_learn(tiny: Maker, words: tuple[str, ...]):
    moved = []
    for options in ((), words):
        mutual, pair, batch = pair_of(tiny(*PEER, *options))
        mutual.update(batch)
        moved.append([one.model.conv1.weight.detach().clone() for one in pair])
    assert all(not torch.equal(one, two) for one, two in zip(*moved, strict=True))


def test_the_loss_of_one_gives_no_gradient_to_the_other(tiny: Maker):
    config = tiny(*PEER, "--transfer.weight", "1")
    mutual, (own, peer), batch = pair_of(config)
    seen, distances = mutual._see(batch)
    whole = seen[0].losses + seen[1].losses + distances
    given = torch.autograd.grad(whole.sum(), own.parameters)
    layers = [f"layer{number}" for number in (1, 2, 3)]
    places = placed(own.model, layers, own.inputs(batch.images))
    with tapped(own.model, layers, places) as mine, tapped(peer.model, layers, places) as theirs:
        losses, _ = own.see(batch).losses, peer.see(batch)
    loss = (losses + map_distance(global_map(mine, places), global_map(theirs, places), grid=4)).sum()
    expected = torch.autograd.grad(loss, own.parameters, retain_graph=True)
    for one, two in zip(given, expected, strict=True):
        torch.testing.assert_close(one, two)
    assert not any(torch.autograd.grad(loss, peer.parameters, allow_unused=True))


PLAIN = ("--recipe.momentum", "0", "--recipe.weight_decay", "0", "--recipe.schedule", "constant")


def test_a_step_with_predictions_by_hand(tiny: Maker):
    """Of ``CE(z, y) + w KL(peer || own)`` the gradient by ``z`` is ``(p - y) + w (p - p_peer)``."""
    words = ("--transfer.kind", "predictions", "--transfer.weight", "2")
    config = tiny(*PEER, *PLAIN, *words, "--recipe.learning_rate", "0.5")
    sets, (mutual, pair, batch) = load_images(config.data), pair_of(config)
    before = [one.model.fc.bias.detach().double().numpy() for one in pair]
    with torch.no_grad():
        logits = [one.see(batch).logits.double().numpy() for one in pair]
    own, peer = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in logits)
    truth = np.eye(len(sets.classes))[batch.labels.numpy()]
    told = mutual.update(batch)
    for one, old, mine, theirs in zip(pair, before, (own, peer), (peer, own), strict=True):
        slope = ((mine - truth) + 2 * (mine - theirs)).mean(axis=0)
        new = one.model.fc.bias.detach().double().numpy()
        np.testing.assert_allclose(new, old - 0.5 * slope, atol=1e-6)
    divergences = [(q * np.log(q / p)).sum(axis=1).mean() for p, q in ((own, peer), (peer, own))]
    assert mutual.row() == {"train/predictions_distance": pytest.approx(np.mean(divergences), rel=1e-4)}
    cross_entropy = -np.log((own * truth).sum(axis=1)).mean()  # what is reported is the loss without its term
    assert float(told[0].loss) == pytest.approx(cross_entropy, rel=1e-5)


@pytest.mark.parametrize("kind", ["maps", "predictions", "attention", "fsp"])
def test_what_is_carried_over_brings_both_nearer(tiny: Maker, kind: str):
    rate = "0.000001" if kind == "fsp" else "0.00001"
    words = ("--transfer.kind", kind, "--transfer.weight", "1000", "--recipe.learning_rate", rate)
    mutual, _, batch = pair_of(tiny(*PEER, *PLAIN, *words))
    distances = []
    for _ in range(4):  # steps so small that each goes down
        mutual.update(batch)
        distances.append(mutual.row()[f"train/{kind}_distance"])
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.99 * distances[0]


def test_networks_of_three_and_of_four_stages_learn_together(tiny: Maker):
    mutual, pair, batch = pair_of(tiny("--transfer.peer", "resnet18"))
    mutual.update(batch)
    assert [one.num_updates for one in pair] == [1, 1]
    assert 0 < mutual.row()["train/maps_distance"] < 2


def test_a_temperature_counts_unlikely_classes_more(tiny: Maker):
    """The distance of a pair at ``T`` by hand, from the same logits."""
    told = ("--transfer.kind", "predictions", "--transfer.temperature", "4")
    mutual, pair, batch = pair_of(tiny(*PEER, *told))
    with torch.no_grad():
        own, peer = (one.see(batch).logits.double().softmax(dim=1).log() / 4 for one in pair)
    one, two = own.softmax(dim=1), peer.softmax(dim=1)
    expected = 16 * ((two - one) * (two / one).log()).sum(dim=1).mean() / 2  # KL both ways
    mutual.update(batch)
    assert mutual.row()["train/predictions_distance"] == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("kind", ["maps", "predictions", "attention", "fsp"])
def test_a_teacher_moves_the_other_alone(tiny: Maker, kind: str):
    moved = []
    for weight in ("0", "1"):
        words = ("--transfer.kind", kind, "--transfer.weights", "a run", "--transfer.weight", weight)
        mutual, (own, teacher), batch = pair_of(tiny(*PEER, *PLAIN, *words))
        before = {key: value.clone() for key, value in teacher.model.state_dict().items()}
        mutual.update(batch)
        assert equal(before, teacher.model.state_dict()), "statistics, too"
        moved.append(own.model.conv1.weight.detach().clone())
    assert not torch.equal(*moved)


def test_a_run_that_is_taught_is_judged_and_goes_on_to_the_bit(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    teacher = train(tiny("--seed", "5", "--recipe.epochs", "1")).folder
    words = (*PEER, "--transfer.kind", "attention", "--transfer.weights", str(teacher))
    taught, learn = train(tiny(*words)), Training._learn
    assert equal(weights(taught.folder / "peer"), weights(teacher))
    assert {row["peer/test/top1"] for row in rows(taught.folder)} == {rows(teacher)[-1]["test/top1"]}

    def stop_after(self: Training, batch: object) -> None:
        learn(self, batch)
        if self.classifier.num_updates == 3:
            self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_after)
    stopped = train(tiny(*words))
    monkeypatch.undo()
    resumed = train(tiny(*words), resume=stopped.folder)
    assert equal(weights(resumed.folder), weights(taught.folder))
    assert rows(resumed.folder) == rows(taught.folder)


def test_a_teacher_of_other_classes_is_refused(tiny: Maker, tmp_path: Path):
    weights = build_classifier(tiny(), load_images(tiny().data), 1).model.state_dict()
    weights |= {"fc.weight": torch.zeros(7, 64), "fc.bias": torch.zeros(7)}
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / "other.safetensors")
    with pytest.raises(
        UsageError, match=r"transfer\.weights: the peer's .* tell other classes than the images"
    ):
        train(tiny(*PEER, "--transfer.weights", str(tmp_path / "other.safetensors")))


def test_an_update_that_is_not_taken_moves_neither(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    mutual, pair, batch = pair_of(tiny(*PEER))
    before = [{key: value.clone() for key, value in one.model.state_dict().items()} for one in pair]
    with torch.no_grad():
        pair[1].model.fc.bias[0] = before[1]["fc.bias"][0] = float("nan")
    with pytest.raises(ArithmeticError, match="the loss is nan"):
        mutual.update(batch)
    for one, old in zip(pair, before, strict=True):
        assert one.num_updates == 0
        assert all(
            torch.equal(value.nan_to_num(7), old[key].nan_to_num(7))
            for key, value in one.model.state_dict().items()
        )


def test_restarts_of_pairs_keep_the_best_pair(tiny: Maker):
    result = train(tiny(*PEER, "--restarts", "2"))
    kept = {path.parent.parent.name for path in result.folder.glob("restart-*/peer/checkpoints")}
    assert kept == {result.scores["restarts"]["kept"]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--transfer.peer", "resnet2"), "there is no network 'resnet2'"),
        (
            ("--transfer.peer", "resnet_20"),
            "the peer's model: there is no network 'resnet_20'; did you mean 'resnet20'",
        ),
        ((*PEER, "--transfer.attention", "cms"), "attention 'cms'; did you mean 'csm'"),
        (
            (*PEER, "--transfer.layers", "layer9"),
            "transfer.layers: the ResNet has no layer 'layer9'; did you",
        ),
        (
            ("--model", "resnet18", *PEER, "--transfer.layers", "layer4"),
            "transfer.layers: the peer's ResNet has no layer 'layer4'; did you mean 'layer3'",
        ),
        ((*PEER, "--transfer.layers", "fc"), "transfer.layers: the layer 'fc' must give"),
        ((*PEER, "--transfer.grid", "64"), "choose a smaller grid"),
        ((*PEER, "--transfer.grid", "0"), "grid must be in 1..1024"),
        ((*PEER, "--transfer.below", "2"), r"below must be in \(-1, 1\]"),
        ((*PEER, "--transfer.weight", "-1"), "weight must be at least 0"),
        ((*PEER, "--transfer.power", "0.5"), "power must be at least 1"),
        (("--transfer.kind", "predictions"), "kind needs a peer; name one with peer"),
        ((*PEER, "--transfer.kind", "predictions", "--transfer.grid", "2"), "grid: only kind=maps has any"),
        ((*PEER, "--transfer.kind", "fsp", "--transfer.power", "2"), "only kind=maps or attention has any"),
        ((*PEER, "--transfer.temperature", "2"), "temperature: only kind=predictions has any, not maps"),
        ((*PEER, "--transfer.kind", "predictions", "--transfer.temperature", "0"), "must be positive"),
        ((*PEER, "--transfer.is_joint", "true", "--transfer.weights", "r"), "is_joint lets the peer learn"),
        ((*PEER, "--transfer.weights", "nowhere"), "transfer.weights: the peer's model.weights must be"),
        (("--transfer.peer", "resnet18", "--transfer.kind", "fsp"), "the networks have 3 and 4 stages"),
        ((*PEER, "--transfer.kind", "fsp", "--transfer.layers", "layer1"), "give at least 2 layers, got 1"),
        ((*PEER, "--compile", "true"), "which compile=true closes"),
    ],
)
def test_a_mistake_is_one_sentence(tiny: Maker, words: tuple[str, ...], told: str):
    with pytest.raises(UsageError, match=told):
        train(tiny(*words))


def test_a_peer_alone_cannot_be_resumed(tiny: Maker, monkeypatch: pytest.MonkeyPatch):
    learn = Training._learn

    def stop_at_once(self: Training, batch: object) -> None:
        learn(self, batch)
        self.stop.stop()

    monkeypatch.setattr(Training, "_learn", stop_at_once)
    config = tiny(*PEER)
    stopped = train(config)
    with pytest.raises(UsageError, match=f"the peer of another; resume that one, in {stopped.folder}$"):
        train(peer_of(config), resume=stopped.folder / "peer")


def test_the_peer_has_attention_of_its_own(tiny: Maker):
    config = tiny(
        *("--model.attention", "se", "--model.attention_options.reduction", "2"),
        *("--transfer.peer", "resnet20", "--transfer.attention", "csm", "--transfer.attention_per", "stage"),
        *("--transfer.attention_options.kernel_size", "3"),
    )
    peer = peer_of(config)
    assert (peer.model.attention, peer.model.attention_per) == ("csm", "stage")
    assert peer.model.attention_options == {"kernel_size": 3}
    assert peer_of(peer).model == config.model, "each is the peer of the other"
