"""``scripts/bench/board_tables.py``: figures of cells by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "bench"))
import board_picture

import board_tables


def cell(agent: str, curve: list[tuple[int, float, float]], **returns: list[float]) -> dict[str, Any]:
    found = {"all": [4.0, 4.0, 6.0, 6.0], "random": [0.0] * 4} | returns
    return {
        "task": "World",
        "agent": agent,
        "seed": 0,
        "num_steps": 100,
        "curve": curve,
        "returns": found,
        "processor": "a processor",
    }


RISING = [(step, 2.0 * step, float(step)) for step in range(1, 41)]  # one episode a step, two seconds each


def test_returns_are_means_of_the_last_twenty_episodes():
    means = board_tables.recent(RISING)
    assert means[:2] == [1.0, 1.5]
    assert means[19] == 10.5, "1 to 20"
    assert means[39] == 30.5, "21 to 40"


@pytest.mark.parametrize(("cpu_s", "expected"), [(2.0, 1.0), (5.0, 1.5), (80.0, 30.5), (900.0, 30.5)])
def test_the_return_at_a_time_is_that_of_the_last_episode_before(cpu_s: float, expected: float):
    assert board_tables.return_at(cell("spl", RISING), cpu_s) == expected


def test_before_the_first_episode_there_is_no_return():
    assert str(board_tables.return_at(cell("spl", RISING), 1.0)) == "nan"


@pytest.mark.parametrize(
    ("value", "expected"), [(-1.0, 40.0), (10.5, 40.0), (10.6, 42.0), (30.6, float("inf"))]
)
def test_a_return_is_reached_by_twenty_episodes_at_least(value: float, expected: float):
    assert board_tables.seconds_to(cell("spl", RISING), value) == expected


def test_the_table_by_hand(tmp_path: Path):
    slow = [(step, 4.0 * step, total) for step, _, total in RISING]  # half as fast, the same returns
    cells = {
        "spl-fast": cell("spl-fast", RISING, **{"video only": [5.0] * 4, "audio only": [1.0, 1.0, 2.0, 1.0]}),
        "dqn": cell("dqn", slow, **{"video only": [0.0] * 4, "audio only": [-5.0] * 4}),
    }
    for agent, one in cells.items():
        path = tmp_path / "World" / agent / "seed-0.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(one))
    out = tmp_path / "board.md"
    picture = tmp_path / "images" / "board.png"
    board_tables.write_table(tmp_path, out, {"World": "spl train agent WORLD"}, picture)
    text = out.read_text()
    assert "](images/board.png)" in text
    assert "spl train agent WORLD --seed S" in text
    assert "random actions earn 0.00" in text
    assert "| World | 30.50 | 10.50 | - | 0.50 | - |" in text, "after 80 seconds"
    assert "| *the median task* |  |  |  | 0.50 | - |" in text
    ours, peer = ([part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()[-2:])
    assert ours[0] == "spl, fast"
    assert ours[1].startswith("5.00 ["), "4 and 6 are cut"
    assert ours[2:] == ["5.00", "30.50", "80", "-", "100 %", "25 %"]
    assert peer[2:] == ["5.00", "10.50", "160", "0.50", "0 %", "-100 %"], "80 of its 160 seconds"


def test_the_picture_has_a_line_for_each_seed_and_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for agent, seed in (("spl", 0), ("spl", 1), ("dqn", 0)):
        path = tmp_path / "World" / agent / f"seed-{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(cell(agent, RISING) | {"seed": seed}))
    kept = []
    monkeypatch.setattr(board_picture.plt, "close", kept.append)
    board_picture.draw(tmp_path, tmp_path / "board.png")
    by_steps, by_seconds = kept[0].axes
    assert [len(one.lines) for one in (by_steps, by_seconds)] == [3, 3]
    assert list(by_steps.lines[0].get_xdata()) == list(range(20, 41))
    assert list(by_seconds.lines[0].get_xdata()) == list(range(40, 82, 2))
    assert by_seconds.lines[0].get_ydata()[-1] == 30.5, "the mean of 21 to 40"
    assert [text.get_text() for text in kept[0].legends[0].get_texts()] == ["spl", "DQN (Stable-Baselines3)"]
    assert (tmp_path / "board.png").stat().st_size > 10_000


def test_the_median_task_counts_each_task_once_and_what_is_never_reached(tmp_path: Path):
    def task(name: str, final: float) -> list[dict[str, Any]]:
        peers = [(step, 4.0 * step, min(float(step), final)) for step in range(1, 61)]
        return [cell("dqn", peers) | {"task": name}, cell("spl-fast", RISING) | {"task": name}]

    rows = list(board_tables.in_short([*task("A", 10.0), *task("B", 20.0), *task("C", 60.0)]))
    assert [row[0] for row in rows] == ["A", "B", "C", "*the median task*"]
    assert [row[4] for row in rows][2] == "never", "ours ends at 30.5, the peer at 50.5"
    assert rows[3][4] == rows[1][4]
    assert rows[0][5] == "-", "QR-DQN was not trained"
