"""``scripts/bench/timing.py``: contenders in turns, medians, ratios within a round."""

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "timing.py"


@pytest.fixture(scope="module")
def timing() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_each_round_measures_every_contender_once_in_an_order_drawn_anew(timing):
    order: list[str] = []

    def measure(name: str) -> Callable[[], int]:
        def call() -> int:
            order.append(name)
            return order.count(name)

        return call

    found = timing["take_turns"]({name: measure(name) for name in "abc"}, 8)
    assert found == {name: [1, 2, 3, 4, 5, 6, 7, 8] for name in "abc"}
    rounds = {tuple(order[start : start + 3]) for start in range(0, 24, 3)}
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(rounds) > 1


@pytest.mark.parametrize(("num_rounds", "expected"), [(3, 3), (9, 5)])
def test_a_spent_budget_leaves_five_rounds(timing, num_rounds, expected):
    found = timing["take_turns"]({"a": lambda: 0}, num_rounds, budget_s=-1.0)
    assert len(found["a"]) == expected


def test_seconds_are_the_clock_s_after_less_before(timing):
    ticks = [2.0]

    def work() -> None:
        ticks[0] += 3.0

    assert timing["seconds"](work, clock=lambda: ticks[0]) == 3.0


def test_one_thread_on_the_cpu_is_timed_by_its_own_clock(timing):
    time = timing["time"]
    assert timing["clock_of"]("cpu", 1) is time.process_time
    assert timing["clock_of"]("cpu", 2) is time.perf_counter
    assert timing["clock_of"]("cuda", 1) is time.perf_counter


def test_medians_leave_out_the_first_call_of_each(timing):
    ticks = iter([100.0, 1.0, 5.0, 2.0])  # the first call, and three rounds
    now = [0.0]

    def work() -> None:
        now[0] += next(ticks)

    median_seconds = timing["median_seconds"]
    median_seconds.__globals__["clock_of"] = lambda device, num_threads: lambda: now[0]
    assert median_seconds({"a": work}, 3, device="cpu", num_threads=1) == {"a": 2.0}


def test_ratios_are_of_the_same_round(timing):
    assert timing["ratios"]([2.0, 9.0], [4.0, 3.0]) == [0.5, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        timing["ratios"]([1.0, 2.0], [1.0])


def test_the_share_of_others_is_of_the_whole_machine(timing):
    share = timing["share_of_others"](10.0, 4.0, 4.0 + 5.0 * (os.cpu_count() or 1))
    assert share == 0.5
    assert timing["share_of_others"](10.0, 4.0, 3.9) == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_process_s_own_figures_are_read(timing):
    before = timing["own_cpu_s"]()
    held, end = bytearray(b"1" * 50_000_000), timing["time"].process_time() + 0.2
    while timing["time"].process_time() < end:
        pass
    assert 0.1 < timing["own_cpu_s"]() - before <= timing["machine_cpu_s"]()
    assert len(held) < timing["memory_bytes"]("RssAnon") <= timing["memory_bytes"]("VmRSS")
    assert timing["memory_bytes"]("VmRSS") <= timing["memory_bytes"]("VmHWM")


def test_a_process_of_its_own_answers_in_its_last_line(timing, tmp_path):
    script = tmp_path / "answers.py"
    script.write_text("import os, sys\nprint('words')\nprint([int(sys.argv[1]), int(os.environ['EXTRA'])])")
    assert timing["run_only"]([str(script), "3"], {**os.environ, "EXTRA": "4"}) == [3, 4]
