"""What a run tells: rows, plain lines, the panel."""

import io
import json
import re

import pytest
from rich.console import Console

from spl.runs import logger
from spl.runs.logger import Report, brief, duration, print_table, say


def test_rows_are_json_lines_and_a_killed_stretch_is_cut_off(tmp_path):
    with Report(tmp_path, "run", 100, console=Console(file=io.StringIO())) as report:
        for step in (10, 20, 30):
            report.row(step, {"train/loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "seconds": 5.0, "train/loss": 2.5}\n')
        file.write('{"step": 4')  # cut by a kill
    with Report(tmp_path, "run", 100, first_step=20, console=Console(file=io.StringIO())) as report:
        report.row(30, {"train/loss": 9.0})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["train/loss"]) for row in rows] == [
        (10, 1.0),
        (20, 2.0),
        (20, 2.5),
        (30, 9.0),
    ]
    assert rows[-1]["seconds"] >= 5.0, "time goes on from the last row that was kept"


def test_tensorboard_gets_the_same_tags(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Report(tmp_path, "run", 100, console=Console(file=io.StringIO())) as report:
        report.row(10, {"rollout/ep_rew_mean": 2.5, "note": "a text"})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (scalar,) = events.Scalars("rollout/ep_rew_mean")
    assert (scalar.step, scalar.value) == (10, 2.5)


def test_plain_lines_without_a_terminal_and_a_panel_with_one(tmp_path):
    for is_terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100)
        with Report(tmp_path, "a title", 1_000, console=console, is_logged=False) as report:
            report.show(250, {"steps/s": 123456.0, "return": "7 ± 1"})
        told = console.file.getvalue()
        assert "123,456" in told
        assert "7 ± 1" in told
        assert ("a title" in told) == is_terminal
        assert ("step 250 of 1,000" in told) != is_terminal


@pytest.mark.parametrize(
    ("owed", "left"), [(0.0, "0:00"), (250.0, "0:10"), (999.0, "2:46:30"), (1_000.0, "?")]
)
def test_steps_that_are_still_to_be_learned_from_take_time(tmp_path, monkeypatch, owed, left):
    clock = [100.0]
    monkeypatch.setattr(logger.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), width=200)
    with Report(tmp_path, "run", 1_000, console=console, is_logged=False, owed=lambda: owed) as report:
        clock[0] += 30.0 if owed == 250.0 else 10.0
        report.show(1_000, {})  # 750 steps are done in 30 s: 250 take 10 s
    assert f"step 1,000 of 1,000, {left} left" in console.file.getvalue()


def test_a_report_without_rows_refuses_them(tmp_path):
    with (
        Report(tmp_path, "run", 10, console=Console(file=io.StringIO()), is_logged=False) as report,
        pytest.raises(ValueError, match="keeps no rows"),
    ):
        report.row(1, {})


def test_numbers_and_times_read_well():
    assert [brief(0.00012345), brief(12345.6), brief(1234567), brief("x")] == [
        "0.0001234",
        "12,346",
        "1,234,567",
        "x",
    ]
    assert [duration(5), duration(65), duration(3661)] == ["0:05", "1:05", "1:01:01"]


def test_a_table_is_not_folded_in_a_file():
    file = io.StringIO()
    print_table("Title", ["name", "value"], [["x" * 60, "y" * 40]], file=file)
    assert "x" * 60 in file.getvalue()
    assert "y" * 40 in file.getvalue()


def test_a_table_is_folded_and_not_cut_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    cells = ["share of the peak (171 GFLOP/s)", "8,382 bytes a transition, 400 MiB", "1234567890.5"]
    print_table("Title", ["a", "b", "c"], [cells])
    told = capsys.readouterr().out
    assert all(word in told for cell in cells for word in cell.split())
    assert all(len(re.sub(r"\x1b\[\d*m", "", line)) <= 60 for line in told.splitlines())


def test_nothing_that_a_terminal_obeys_comes_out_of_a_sentence_or_a_table(tmp_path):
    out = io.StringIO()
    say(Console(file=out), "fault \x1b[2J of one\nand of another")
    assert out.getvalue() == "fault \\x1b[2J of one\nand of another\n"
    panel = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Report(tmp_path, "env [/]\x1b[2J", 3, is_logged=False, console=panel) as report:
        report.show(1, {"newest film": "[/] \x1b[2J.mp4"})
    assert r"env [/]\x1b[2J" in panel.file.getvalue()
    assert r"[/] \x1b[2J.mp4" in panel.file.getvalue()
    plain = Console(file=io.StringIO())
    with Report(tmp_path, "run", 3, is_logged=False, console=plain) as report:
        report.show(1, {"newest film": "[/] \x1b[2J.mp4"})
    assert r"newest film [/] \x1b[2J.mp4" in plain.file.getvalue()
    table = io.StringIO()
    print_table("Classes", ["class", "images"], [["a\nb\x1b[31m", "3"]], file=table)
    assert r"a\nb\x1b[31m" in table.getvalue()
