"""``spl bench``: rates by hand, every figure of a tiny training, and what it refuses."""

import errno
import io
import json
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from spl.agents import bench as module
from spl.agents import bench_measures as bench
from spl.agents.bench import BenchConfig, _told, bench_agent, print_bench, save_bench
from spl.agents.dqn import MultimodalDqn
from spl.cli import main as cli
from spl.config.errors import RunError
from spl.config.parse import parse

TINY = ("--config", "smoke/agent", "--env.kwargs.num_rounds", "1", "--num_threads", "1", "--device", "cpu")


def config(*words: str) -> BenchConfig:
    return parse(BenchConfig, [*TINY, "--duration_s", "0.02", *words], prog="spl bench")


def test_a_rate_is_the_median_of_five_slices(monkeypatch):
    now, taken = [0.0], iter([9.0] + [0.1] * 10 + [0.5] * 2 + [0.2] * 5 + [0.25] * 4 + [1.0])

    def call() -> None:
        now[0] += next(taken)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    # after the first call, slices of 1 s in which it takes 0.1, 0.5, 0.2, 0.25 and 1 s
    assert bench.rate_of(call, 4.999, lambda: None) == pytest.approx(4.0)


def test_parts_and_loop_act_by_the_network_as_at_the_end_of_a_training(tmp_path, monkeypatch):
    shares = []
    decide = MultimodalDqn.decide

    def noted(agent, stack, epsilon):
        shares.append(epsilon)
        return decide(agent, stack, epsilon)

    monkeypatch.setattr(MultimodalDqn, "decide", noted)
    bench_agent(config("--agent.epsilon_end", "0.125", "--num_steps", "200"), console=Console(quiet=True))
    assert set(shares) == {0.0, 0.125}, "0 where acting is measured alone"


def test_every_figure_is_there_and_the_table_tells_it(tmp_path, capsys):
    out, told = tmp_path / "bench.json", io.StringIO()
    words = ["--to_return", "0.1", "--num_steps", "200", "--out", str(out)]
    result = bench_agent(config(*words), console=Console(file=told))
    save_bench(result, str(out))
    assert json.loads(out.read_text()) == result
    figures = result["figures"]
    assert all(figures[name] > 0 for name in ("env", "acting", "collecting", "updates", "loop_steps"))
    assert figures["loop_updates"] == pytest.approx(figures["loop_steps"] / 2, rel=0.1), "one every two steps"
    assert figures["peak_gflops"] > figures["gflop_per_update"] > 0
    assert figures["bytes_per_transition"] > 36 * 36 + 2 * 64 * 8
    assert figures["reached"]["steps"] == 100, "a hundred episodes of one round"
    assert result["options"]["num_steps"] == 200
    assert result["system"]["cores"] >= 1
    print_bench(result)
    table = capsys.readouterr().out
    assert "an update of 8 transitions, in thirds" in table
    assert "to a return of 0.1" in table
    assert "100 steps" in table


def test_a_full_disk_costs_the_file_and_not_the_table(tmp_path, monkeypatch, capsys):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(module, "replace_text", full)
    out = str(tmp_path / "bench.json")
    assert cli.main(["bench", *TINY, "--duration_s", "0.02", "--num_steps", "200", "--out", out]) != 0
    said = capsys.readouterr()
    assert "the whole loop" in said.out
    assert "No space left on device" in said.err
    assert out in said.err


def test_a_return_that_is_never_earned_is_told(tmp_path):
    found = bench.measure_return(config("--num_steps", "120"), 99.0, tmp_path, Console(quiet=True))
    assert found["reached"] is None
    assert 0 < found["best"] < 1
    assert _told(None, 2.5, 1_200) == "not reached in 1,200 steps: at best 2.5"
    assert _told(None, None, 90) == "not reached in 90 steps: fewer than 100 episodes"


def test_plain_updates_take_less_arithmetic_than_thirds(tmp_path):
    found = {
        thirds: bench.measure_parts(config("--agent.thirds", thirds), tmp_path, Console(quiet=True))
        for thirds in ("none", "asymmetric")
    }
    assert 0 < found["none"]["gflop_per_update"] < found["asymmetric"]["gflop_per_update"]


def test_a_training_that_ends_too_soon_is_told(tmp_path):
    with pytest.raises(RunError, match=r"ended after 40 steps, before its loop .* --num_steps 400"):
        bench.measure_loop(config("--num_steps", "40"), tmp_path)


def test_a_loop_that_is_interrupted_before_its_first_update_is_not_told_to_be_short(tmp_path, monkeypatch):
    stopped = SimpleNamespace(is_finished=False, step=40)
    monkeypatch.setattr(bench, "train_agent", lambda *args, **options: stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.measure_loop(config(), tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["spl/Baecon-v0"], "spl/Baecon-v0"),
        (["--duration_s", "0"], "duration_s must be positive, got 0"),
        (["--out", "nowhere/a.json"], "--out nowhere/a.json: there is no folder nowhere"),
        (["--out", "."], "--out must be a JSON file to write, got the folder ."),
        (["--out", "/dev/null"], "--out must be a JSON file to write, got the device or pipe /dev/null"),
        (["--restarts", "2"], "spl bench keeps no run: leave restarts out, got 2"),
        (["--to_return", "high"], "to_return"),
    ],
)
def test_a_mistake_is_one_sentence(words, told, capsys):
    assert cli.main(["bench", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
