"""Two processes that share each update, against one alone: sums, weights, rows, stopping and resuming.

Both are started once, with what torchrun would tell them.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import seen_and_heard as toy
import torch
from PIL import Image
from torch import Tensor, nn

from spl.classify.training import Training
from spl.cli import main as cli
from spl.config.errors import UsageError
from spl.pretrain.data import ViewOrder
from spl.processes import ranks
from spl.processes.ranks import followed, joined, num_launched, num_ranks, rank
from spl.runs import checkpoint
from spl.runs.files import read_rows
from spl.training.shared import SharedNorm, agreed, check_shares, gathered, mean, mine, sum_gradients, summed

ALONE = ["--num_threads", "1", "--device", "cpu"]
PICTURES = (
    "--data.name folder --data.image_size 16 --data.test_share 0.25 --recipe.epochs 2 --recipe.batch_size 5"
)
CLASSIFIER = [
    *["train", "classifier", *PICTURES.split(), "--recipe.learning_rate", "0.002", *ALONE],
    *["--curriculum", "self-paced", "--curriculum.scheme", "linear", "--curriculum.warmup", "0.4"],
]
DENSE = "--encoder.video_stream dense --encoder.audio_stream dense --encoder.attention none --num_drawn 0 "
DENSE += "--encoder.video_widths 32,24 --encoder.audio_widths 32,24 --encoder.video_features 16 "
DENSE += (
    "--encoder.audio_features 16 --encoder.features 16 --encoder.code_activation sigmoid --data.history 1"
)
AUTOENCODER = [
    *["pretrain", "autoencoder", *DENSE.split(), *ALONE],
    *["--recipe.epochs", "2", "--recipe.batch_size", "27", "--recipe.learning_rate", "0.0001"],
    *["--objective.noise", "0.1", "--objective.block", "0.3", "--objective.alignment", "infonce"],
    *["--objective.sparsity", "kl", "--curriculum.name", "self-paced", "--curriculum.scheme", "linear"],
]
STOPS_AT = 7  # update, in the second epoch, when the second process alone is told to stop


def check_sums() -> None:
    """What each process has of a batch of five rows, and what all have together."""
    place, rows = rank(), torch.arange(10.0).reshape(5, 2)
    assert num_ranks() == 2
    own = rows[:3] if place == 0 else rows[3:]
    assert torch.equal(mine(rows), own)
    assert mine([1, 2, 3]) == ([1, 2], [3])[place]
    assert torch.equal(summed(torch.tensor(place + 1)), torch.tensor(3))
    assert torch.equal(gathered(own), rows)
    assert torch.equal(gathered(mine(torch.arange(5))), torch.arange(5))
    assert summed(mean(own[:, 0])) == rows[:, 0].mean()
    assert agreed(place == 1)
    assert not agreed(False)
    check_shares(2)
    with pytest.raises(UsageError, match="last update has 1 samples for 2 processes: choose another"):
        check_shares(1)
    one, two, none = (nn.Parameter(torch.ones(2)) for _ in range(3))
    one.grad = torch.full((2,), 1.0 + place)
    two.grad = torch.ones(2) if place else None
    sum_gradients([one, two, none])
    assert (one.grad.tolist(), two.grad.tolist(), none.grad) == ([3.0, 3.0], [1.0, 1.0], None)


def check_norms() -> None:
    """Rows, gradients and running statistics are those of PyTorch's normalisation of the whole batch."""
    generator = torch.Generator().manual_seed(0)
    x, towards = torch.randn(2, 5, 3, 4, 4, generator=generator).unbind()
    whole, shared = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    shared.__class__ = SharedNorm
    for norm in (whole, shared):
        norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    everything, own = x.clone().requires_grad_(), mine(x).clone().requires_grad_()
    made, part = whole(everything), shared(own)
    (made * towards).sum().backward()
    (part * mine(towards)).sum().backward()
    sum_gradients([*shared.parameters()])
    pairs = [(part, mine(made)), (own.grad, mine(everything.grad))]
    pairs += [(a.grad, b.grad) for a, b in zip(shared.parameters(), whole.parameters(), strict=True)]
    pairs += list(zip(shared.buffers(), whole.buffers(), strict=True))
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def work(place: int, ports: list[int], folder: Path) -> None:
    """Be one of the two processes; what went wrong is written down."""
    ranks.GRACE_S = 0.1
    torch.set_num_threads(1)
    told = (folder / f"told-{place}.txt").open("w", buffering=1)
    os.environ.update(dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2"), MASTER_ADDR="127.0.0.1")
    os.environ.update({name: str(place) for name in ("RANK", "LOCAL_RANK")})

    def command(words: list[str]) -> int:
        os.environ["MASTER_PORT"] = str(ports.pop())
        return followed(lambda: cli.main(words)) if place else cli.main(words)

    step = Training._step

    def stop_one(self, batch):
        step(self, batch)
        if place == 1 and self.done == STOPS_AT:
            self.stop.stop()

    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            os.environ["MASTER_PORT"] = str(ports.pop())
            with joined("cpu"):
                check_sums()
                check_norms()
            Training._step = stop_one  # type: ignore[method-assign]
            data, runs = ["--data.root", str(folder / "pictures")], ["--runs", str(folder / "two")]
            assert command([*CLASSIFIER, *data, *runs]) == 130
            assert command([*AUTOENCODER, "--data.paths", str(folder / "recording"), *runs]) == 0
            assert command(["train", "agent"]) == 2
            assert command([*CLASSIFIER, *data, *runs, "--restarts", "2"]) == 2
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os._exit(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where two processes trained into ``two``, and one alone into ``one``."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("shared")
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 120, (16, 16, 3))
            pixels[..., channel] += 60
            Image.fromarray(pixels.astype(np.uint8)).save(place / "pictures" / name / f"{number}.png")
    toy.record(place / "recording", 40, 0)
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(5)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    runs = ["--runs", str(place / "one")]
    assert cli.main([*CLASSIFIER, "--data.root", str(place / "pictures"), *runs]) == 0
    assert cli.main([*AUTOENCODER, "--data.paths", str(place / "recording"), *runs]) == 0
    context = multiprocessing.get_context("spawn")  # a fork could not go backward after another test did
    both = [context.Process(target=work, args=(number, ports, place)) for number in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(100)
        one.kill()
        one.join()
    told = [(place / f"told-{number}.txt").read_text() for number in range(2)]
    assert [one.exitcode for one in both] == [0, 0], "\n".join(told)
    return place


def only(folder: Path, kind: str) -> tuple[Path, Path]:
    """Return the run of one process, and that of two."""
    alone, shared = ([*(folder / name / kind).iterdir()] for name in ("one", "two"))
    assert (len(alone), len(shared)) == (1, 1)
    return alone[0], shared[0]


def are_close(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    for name, weight in one.items():
        torch.testing.assert_close(
            two[name], weight, rtol=0.0, atol=1e-5, msg=lambda told, n=name: f"{n}: {told}"
        )


def rows_are_close(one: Path, two: Path) -> None:
    for a, b in zip(read_rows(one), read_rows(two), strict=True):
        values = {
            name: value for name, value in a.items() if not name.startswith("time/") and name != "seconds"
        }
        assert {name: b[name] for name in values} == pytest.approx(values, rel=1e-4, abs=1e-5)


def test_an_autoencoder_of_two_processes_is_that_of_one(folder):
    alone, shared = only(folder, "autoencoder")
    states = [checkpoint.load(one / "checkpoints")["learner"] for one in (alone, shared)]
    assert states[0]["num_updates"] >= 10
    for part in ("encoder", "decoders"):
        are_close(states[0][part], states[1][part])
    rows_are_close(alone, shared)


def test_a_classifier_that_two_began_and_one_ended_is_that_of_one(folder, capsys):
    alone, shared = only(folder, "classifier")
    stopped = checkpoint.load(shared / "checkpoints")
    assert stopped["classifier"]["num_updates"] == STOPS_AT
    assert cli.main(["train", "classifier", "--resume", str(shared)]) == 0
    states = [checkpoint.load(one / "checkpoints")["classifier"] for one in (alone, shared)]
    assert states[0]["num_updates"] == 2 * 6
    are_close(states[0]["model"], states[1]["model"])
    rows_are_close(alone, shared)
    results = [json.loads((one / "result.json").read_text()) for one in (alone, shared)]
    assert results[0]["last"] == pytest.approx(results[1]["last"], abs=1e-4)


def test_the_first_process_alone_writes_and_prints(folder):
    told, other = ((folder / f"told-{number}.txt").read_text() for number in range(2))
    assert f"stopped and saved at update {STOPS_AT}; resume with: spl train classifier --resume" in told
    assert "spl: 2 processes of torchrun can share spl train classifier and" in told
    assert "spl: --restarts 2 cannot be shared among 2 processes: leave it out" in told
    assert "threads    1" in told
    lines = [line for line in other.splitlines() if not line.startswith("process 1: spl: ")]
    assert lines == []  # and what failed in it as in the first one, which here no torchrun ended


def test_alone_nothing_is_changed():
    rows = torch.randn(4, 3)
    assert all(same(rows) is rows for same in (mine, summed, gathered))
    assert torch.equal(mean(rows[:, 0]), rows[:, 0].mean())
    assert agreed(True)
    norm = nn.BatchNorm2d(3)
    assert (num_launched(), num_ranks(), rank(), type(norm)) == (1, 1, 0, nn.BatchNorm2d)


@pytest.mark.parametrize("is_aligned", [False, True])
def test_the_smallest_update_is_known_before_any(is_aligned):
    order = ViewOrder(7, batch_size=12, views="thirds", is_aligned=is_aligned, seed=0, num_epochs=1)
    assert order.smallest == min(len(samples) for samples, _ in order.after(0)) == 9


def test_a_norm_without_scale_or_momentum_counts_its_batches():
    norms = [nn.BatchNorm2d(3, momentum=None, affine=False) for _ in range(2)]
    norms[1].__class__ = SharedNorm
    for seed in range(3):
        x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(norms[1](x), norms[0](x))
    torch.testing.assert_close(norms[1].state_dict(), norms[0].state_dict())
    torch.testing.assert_close(norms[1].eval()(x), norms[0].eval()(x))
    assert norms[1].train()(x.bfloat16()).dtype == torch.bfloat16


def test_what_only_one_process_has_to_tell_is_told(monkeypatch, capsys):
    def fail() -> int:
        print("a table")
        print("spl: my disk is full", file=sys.stderr)
        return 1

    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(ranks, "GRACE_S", 0.1)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert followed(fail) == 1
        assert capsys.readouterr().err == "process 3: spl: my disk is full\n"
        monkeypatch.setattr(ranks, "GRACE_S", 5.0)
        started = time.monotonic()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert followed(fail) == 1
        assert capsys.readouterr() == ("", "")
        assert time.monotonic() - started < 4.0
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("device", "count", "told"),
    [
        ("cuda:1", 4, "each of 2 processes has a GPU of its own: choose --device cuda, got cuda:1"),
        (
            "cuda",
            1,
            "each process needs a GPU of its own: torchrun started 2 here, and there are 1; start fewer",
        ),
    ],
)
def test_each_process_needs_a_gpu(device, count, told, monkeypatch):
    for name in ranks.LAUNCHED:
        monkeypatch.setenv(name, "2" if name.endswith("SIZE") else "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=told), joined(device):
        pass
