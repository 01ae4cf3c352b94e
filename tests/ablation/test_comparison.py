"""Statistics of a comparison by numbers worked out by hand; its tables and its picture."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from spl.ablation.comparison import Comparison, Entry, Measure, Outcome, Panel
from spl.ablation.figures import draw_comparison
from spl.ablation.statistics import holm, interval, paired_p
from spl.ablation.tables import by_measure, print_comparison, table_of, write_comparison
from spl.classify.ablation.tables import ERROR, MEASURES, PANEL, TOP5_ERROR, papers_layout


def entry(
    name: str,
    errors: dict[int, float],
    *,
    macs: int = 1_000_000,
    seconds: float = 10.0,
    baseline: str | None = None,
) -> Entry:
    outcomes = {
        seed: Outcome(
            {"error": error, "top5_error": error / 2, "best_epoch": 1, "best_epoch_error": error},
            seconds,
            {PANEL.tag: [(1, 90.0), (2, 2 * error), (3, error)]},
        )
        for seed, error in errors.items()
    }
    facts = {"parameters": 272_474, "macs": macs}
    return Entry(name, f"resnet20 + {name}", facts, macs, baseline, outcomes)


def comparison(*entries: Entry, seeds: tuple[int, ...] = (0, 1, 2), num_classes: int = 10) -> Comparison:
    return Comparison(entries, seeds, MEASURES, (PANEL,), ["Made by hand."], papers_layout(num_classes))


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
    summary = whole.summary(other, ERROR)
    # pairs -1, -2, -3
    half = 4.302653 / math.sqrt(3)
    assert summary.difference == pytest.approx((-2.0, -2.0 - half, -2.0 + half), abs=1e-5)
    assert whole.summary(baseline, ERROR).difference is None
    assert whole.summary(baseline, ERROR).sd == pytest.approx(1.0)
    assert whole.summary(baseline, ERROR).best == 5.0
    assert whole.summary(baseline, ERROR).mean.mean == 6.0
    assert whole.summary(baseline, TOP5_ERROR).mean.mean == 3.0


def test_p_of_paired_differences_by_hand():
    # Pairs -1, -2, -3: mean -2, s 1, t = -2 sqrt(3); with 2 degrees of freedom p = 1 - |t| / sqrt(t^2 + 2).
    baseline = {0: 5.0, 1: 7.0, 2: 6.0}
    p = 1 - math.sqrt(12) / math.sqrt(14)
    assert paired_p({2: 3.0, 0: 4.0, 1: 5.0, 9: 99.0}, baseline) == pytest.approx(p, abs=1e-12)
    assert paired_p({2: 9.0, 0: 6.0, 1: 9.0}, baseline) == pytest.approx(p, abs=1e-12)  # the other direction
    # Pairs 2 and 4: mean 3, s sqrt(2), t = 3; with 1 degree of freedom p = 1 - 2 arctan(|t|) / pi.
    assert paired_p({0: 2.0, 1: 4.0}, {0: 0.0, 1: 0.0}) == pytest.approx(1 - 2 * math.atan(3) / math.pi)


def test_p_at_the_ends_of_its_range():
    assert paired_p({0: 1.0}, {0: 2.0}) is None
    assert paired_p({0: 1.0, 1: 1.0}, {2: 2.0, 3: 2.0}) is None
    assert paired_p({0: 1.0, 1: 3.0}, {0: 1.0, 1: 3.0}) == 1.0
    assert paired_p({0: 0.3, 1: 0.9}, {0: 0.1, 1: 0.7}) == 0.0, "differences of 0.2 but for rounding"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx(
        [0.03, 0.06, 0.06]
    )  # 3 * 0.01, then 2 * 0.03, then at least
    assert holm([0.4, 0.001, 0.6]) == pytest.approx([0.8, 0.003, 0.8])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_each_network_is_compared_with_its_own_baseline_and_p_is_corrected_for_all_comparisons():
    one, gated = entry("a-none", {0: 5.0, 1: 7.0}), entry("a-se", {0: 7.0, 1: 11.0}, baseline="a-none")
    two = entry("b-none", {0: 1.0, 1: 2.0}, baseline="b-none")
    other = entry("b-se", {0: 2.0, 1: 3.0}, baseline="b-none")
    lonely = entry("b-eca", {0: 2.0}, baseline="b-none")
    whole = comparison(one, gated, two, other, lonely, seeds=(0, 1))
    assert whole.summary(two, ERROR).difference is None
    assert whole.summary(other, ERROR).difference.mean == 1.0
    p = 1 - 2 * math.atan(3) / math.pi  # pairs 2 and 4; the other's pairs are 1 and 1: p 0
    assert whole.p_values(ERROR) == {
        "a-se": (pytest.approx(p), pytest.approx(p)),
        "b-se": (0.0, 0.0),
    }
    columns, rows = table_of(whole)
    assert [row[columns.index("p (Holm)")] for row in rows] == ["", "0.205", "", "< 0.001", ""]
    assert [row[columns.index("difference [95 %]")] for row in rows][2] == "baseline"
    more = comparison(one, gated, entry("a-eca", {0: 5.0, 1: 7.0}), seeds=(0, 1))
    assert more.p_values(ERROR)["a-se"][1] == pytest.approx(2 * p), "one of two comparisons"


def test_what_is_missing_has_no_summary_no_spread_and_no_difference():
    baseline, one, none = entry("none", {0: 5.0}), entry("se", {1: 4.0}), entry("eca", {})
    partial = comparison(baseline, one, none)
    assert partial.summary(none, ERROR) is None
    assert partial.summary(one, ERROR).sd is None
    assert partial.summary(one, ERROR).difference is None
    assert (partial.num_cells, partial.num_finished) == (9, 2)
    pair = comparison(baseline, entry("se", {0: 4.0}))
    assert pair.summary(pair.entries[1], ERROR).difference == (-1.0, None, None)


def test_time_left_is_by_what_each_network_took_else_by_its_operations():
    assert comparison(entry("none", {})).seconds_left() is None
    tried = replace(comparison(entry("none", {}), entry("se", {}, macs=3_000_000)), seconds_per_cost=1e-6)
    assert tried.seconds_left() == pytest.approx(3 * 1.0 + 3 * 3.0)
    slow = entry("csm", {0: 1.0}, seconds=30.0, macs=2_000_000)
    fast = entry("none", {0: 1.0, 1: 1.0}, seconds=10.0, macs=2_000_000)
    # 2 more of 30 s, 1 more of 10 s, and 3 of 10 s per million
    assert comparison(fast, slow, entry("se", {})).seconds_left() == pytest.approx(60 + 10 + 30)
    fast.failures[2] = "nan"
    assert comparison(fast, slow).seconds_left() == pytest.approx(60)
    whole = comparison(entry("none", {0: 1.0}), seeds=(0,))
    assert whole.seconds_left() == 0.0


def test_the_table_is_in_the_papers_layout():
    baseline, other = entry("none", {0: 5.0, 1: 7.0, 2: 6.0}), entry("se", {0: 5.0, 1: 7.0})
    columns, rows = table_of(comparison(baseline, other, entry("eca", {}, macs=2_340_000_000)))
    measured = ["error % [95 %]", "best", "difference [95 %]", "p (Holm)"]
    assert columns == ["architecture", "parameters", "MACs", *measured, "seeds"]
    # 4.302653 / sqrt(3) is 2.48; 12.7062 sqrt(2) / sqrt(2) is 12.71
    none, se = "6.00 [3.52, 8.48]", "6.00 [-6.71, 18.71]"
    assert rows == [
        ["resnet20 + none", "0.272 M", "1.0 M", none, "5.00", "baseline", "", "3"],
        ["resnet20 + se", "0.272 M", "1.0 M", se, "5.00", "+0.00 [+0.00, +0.00]", "1.000", "2 of 3"],
        ["resnet20 + eca", "0.272 M", "2.34 G", "-", "-", "-", "", "0 of 3"],
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


ACCURACY = Measure("accuracy", "accuracy %", 2, "named right, %")
WRONG = Measure("flipped", "wrong labels %", 1, "wrong, %")


def curricula() -> Comparison:
    outcomes = {
        "uniform": {0: (50.0, 20.0), 1: (60.0, 20.0)},
        "self-paced": {0: (52.0, 10.0), 1: (64.0, 12.0)},
        "anti": {},
    }
    entries = [
        Entry(
            name,
            name,
            outcomes={
                seed: Outcome({"accuracy": right, "flipped": wrong}, 10.0, {"loss": [(1, 2.0), (2, 1.0)]})
                for seed, (right, wrong) in found.items()
            },
        )
        for name, found in outcomes.items()
    ]
    panels = (Panel("loss", "epoch", 1.0, "loss"),)
    measures = (ACCURACY, WRONG)
    return Comparison(entries, (0, 1), measures, panels, [], by_measure("curriculum", measures))


def test_a_layout_by_measure_has_a_column_for_each_and_long_summaries(tmp_path: Path):
    columns, rows = table_of(curricula())
    assert columns == ["curriculum", "accuracy %", "difference [95 %]", "wrong labels %", "seeds"]
    # pairs 2 and 4: mean 3, s = sqrt(2), half = 12.7062
    assert rows == [
        ["uniform", "55.00 ± 7.07", "baseline", "20.0 ± 0.0", "2"],
        ["self-paced", "58.00 ± 8.49", "+3.00 [-9.71, +15.71]", "11.0 ± 1.4", "2"],
        ["anti", "-", "-", "-", "0 of 2"],
    ]
    write_comparison(curricula(), tmp_path)
    assert (tmp_path / "ablation.csv").read_text().splitlines() == [
        "variant,seed,state,accuracy,flipped,seconds",
        "uniform,0,finished,50.0,20.0,10.0",
        "uniform,1,finished,60.0,20.0,10.0",
        "self-paced,0,finished,52.0,10.0,10.0",
        "self-paced,1,finished,64.0,12.0,10.0",
        "anti,0,missing,,,",
        "anti,1,missing,,,",
    ]
    told = (tmp_path / "summary.csv").read_text().splitlines()
    assert told[0] == "variant,measure,seeds,mean,low,high,sd,difference,difference_low,difference_high"
    assert told[3].startswith("self-paced,accuracy,2,58.0,")
    assert told[3].endswith(",8.485281,3.0,-9.706205,15.706205")
    assert told[5:] == ["anti,accuracy,0,,,,,,,", "anti,flipped,0,,,,,,,"]


def test_a_measure_is_told_with_its_unit():
    assert ACCURACY.told(51.237) == "accuracy 51.24 %"
    assert Measure("return", "return", 1, "mean return").told(-3.0) == "return -3.0"


def test_a_logarithmic_panel_is_scaled_to_the_curves_without_their_beginning(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("spl.ablation.figures.save", lambda figure, path: drawn.append(figure))
    draw_comparison(comparison(entry("none", {0: 5.0, 1: 7.0}), entry("se", {})), tmp_path / "none.png")
    draw_comparison(comparison(entry("none", {0: 0.0})), tmp_path / "none.png")
    draw_comparison(curricula(), tmp_path / "none.png")
    dots, curves = drawn[0].axes
    assert curves.get_yscale() == "log"
    # the means are 90, 12, 6; a fifth of three epochs is none
    assert curves.get_ylim() == pytest.approx((6 / 1.15, 90 * 1.15))
    assert dots.get_xlim() == pytest.approx((5.0 - 0.8, 7.0 + 0.8))
    assert [axes.get_yscale() for figure in drawn[1:] for axes in figure.axes] == ["linear"] * 4
    assert drawn[1].axes[0].get_xlim()[0] == pytest.approx(-0.1 * 0.01), "an error is never negative"


def test_of_a_long_run_a_fifth_is_left_out_of_the_logarithmic_scale(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("spl.ablation.figures.save", lambda figure, path: drawn.append(figure))
    long = entry("none", {0: 5.0})
    long.outcomes[0] = long.outcomes[0]._replace(
        curves={PANEL.tag: [(1, 90.0), (2, 40.0), (3, 20.0), (4, 10.0), (5, 5.0)]}
    )
    draw_comparison(comparison(long), tmp_path / "none.png")
    assert drawn[0].axes[1].get_ylim() == pytest.approx((5 / 1.15, 40 * 1.15))
