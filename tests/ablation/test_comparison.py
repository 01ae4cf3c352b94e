"""Statistics of a comparison by numbers worked out by hand; its tables and its picture."""

import math
from pathlib import Path

import pytest

from spl.ablation.statistics import interval, seconds_left
from spl.classify.comparison import Comparison, Entry, Outcome
from spl.classify.tables import print_comparison, table_of, write_comparison


def entry(name: str, errors: dict[int, float], *, macs: int = 1_000_000, seconds: float = 10.0) -> Entry:
    outcomes = {
        seed: Outcome(error, error / 2, 1, error, seconds, (90.0, 2 * error, error))
        for seed, error in errors.items()
    }
    return Entry(name, f"resnet20 + {name}", 272_474, macs, outcomes)


def comparison(*entries: Entry, seeds: tuple[int, ...] = (0, 1, 2), num_classes: int = 10) -> Comparison:
    return Comparison(entries, seeds, num_classes, ["Made by hand."])


def test_of_one_value_there_is_no_interval():
    assert interval([3.5]) == (3.5, None, None)
    with pytest.raises(ValueError, match="at least one value, got none"):
        interval([])


def test_of_equal_values_the_interval_has_no_width():
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_of_two_and_of_three_values_by_hand():
    # 1 and 3: mean 2, s = sqrt(2), t(1) = 12.7062, half = 12.7062 * sqrt(2) / sqrt(2)
    assert interval([1.0, 3.0]) == pytest.approx((2.0, 2.0 - 12.7062, 2.0 + 12.7062), abs=1e-4)
    # 1, 2, 3: mean 2, s = 1, t(2) = 4.302653, half = 4.302653 / sqrt(3)
    half = 4.302653 / math.sqrt(3)
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.0 - half, 2.0 + half), abs=1e-5)


def test_differences_are_taken_over_the_seeds_that_both_have():
    baseline, other = entry("none", {0: 5.0, 1: 7.0, 2: 6.0}), entry("se", {2: 3.0, 0: 4.0, 1: 5.0, 9: 99.0})
    whole = comparison(baseline, other)
    summary = whole.summary(other)
    # pairs -1, -2, -3
    half = 4.302653 / math.sqrt(3)
    assert summary.difference == pytest.approx((-2.0, -2.0 - half, -2.0 + half), abs=1e-5)
    assert whole.summary(baseline).difference is None
    assert whole.summary(baseline).sd == pytest.approx(1.0)
    assert whole.summary(baseline).best == 5.0
    assert whole.summary(baseline).error.mean == 6.0
    assert whole.summary(baseline).top5_error == 3.0


def test_what_is_missing_has_no_summary_no_spread_and_no_difference():
    baseline, one, none = entry("none", {0: 5.0}), entry("se", {1: 4.0}), entry("eca", {})
    partial = comparison(baseline, one, none)
    assert partial.summary(none) is None
    assert partial.summary(one).sd is None
    assert partial.summary(one).difference is None
    assert (partial.num_cells, partial.num_finished) == (9, 2)
    pair = comparison(baseline, entry("se", {0: 4.0}))
    assert pair.summary(pair.entries[1]).difference == (-1.0, None, None)


def test_time_left_is_by_what_each_network_took_else_by_its_operations():
    assert seconds_left(comparison(entry("none", {}))) is None
    slow = entry("csm", {0: 1.0}, seconds=30.0, macs=2_000_000)
    fast = entry("none", {0: 1.0, 1: 1.0}, seconds=10.0, macs=2_000_000)
    # 2 more of 30 s, 1 more of 10 s, and 3 of 10 s per million
    assert seconds_left(comparison(fast, slow, entry("se", {}))) == pytest.approx(60 + 10 + 30)
    fast.failures[2] = "nan"
    assert seconds_left(comparison(fast, slow)) == pytest.approx(60)
    whole = comparison(entry("none", {0: 1.0}), seeds=(0,))
    assert seconds_left(whole) == 0.0


def test_the_table_is_in_the_papers_layout():
    baseline, other = entry("none", {0: 5.0, 1: 7.0, 2: 6.0}), entry("se", {0: 5.0, 1: 7.0})
    columns, rows = table_of(comparison(baseline, other, entry("eca", {}, macs=2_340_000_000)))
    assert columns == ["architecture", "parameters", "MACs", "error %", "best", "difference [95 %]", "seeds"]
    assert rows == [
        ["resnet20 + none", "0.272 M", "1.0 M", "6.00 ± 1.00", "5.00", "baseline", "3"],
        ["resnet20 + se", "0.272 M", "1.0 M", "6.00 ± 1.41", "5.00", "+0.00 [+0.00, +0.00]", "2 of 3"],
        ["resnet20 + eca", "0.272 M", "2.34 G", "-", "-", "-", "0 of 3"],
    ]


def test_top5_errors_are_shown_where_five_are_few():
    columns, (row,) = table_of(comparison(entry("none", {0: 5.0}), num_classes=100))
    assert dict(zip(columns, row, strict=True))["top-5 error %"] == "2.50"


def test_files_say_whether_they_are_whole_and_why_a_run_failed(tmp_path: Path, capsys):
    baseline = entry("none", {0: 5.0, 1: 7.0})
    baseline.failures[2] = "the loss is nan"
    partial = comparison(baseline)
    write_comparison(partial, tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert text.startswith("# Ablation, PARTIAL: 2 of 3 cells, 1 failed\n")
    assert "- Failed: resnet20 + none, seed 2: the loss is nan\n" in text
    assert "- Made by hand.\n" in text
    assert (tmp_path / "ablation.csv").read_text().splitlines()[1:] == [
        "none,resnet20 + none,0,finished,272474,1000000,5.0,2.5,1,5.0,10.0",
        "none,resnet20 + none,1,finished,272474,1000000,7.0,3.5,1,7.0,10.0",
        "none,resnet20 + none,2,failed,272474,1000000,,,,,",
    ]
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ablation.csv",
        "ablation.md",
        "ablation.png",
        "summary.csv",
    ]
    print_comparison(partial, tmp_path)
    assert "Failed: resnet20 + none, seed 2: the loss is nan" in capsys.readouterr().out


def test_a_comparison_without_any_outcome_is_written_too(tmp_path: Path):
    write_comparison(comparison(entry("none", {})), tmp_path)
    assert "PARTIAL: 0 of 3 cells" in (tmp_path / "ablation.md").read_text()
    assert not (tmp_path / "ablation.png").exists()
