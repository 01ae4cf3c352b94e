"""The curriculum of a run: who is in a round, in which order, and that it goes on where it stood."""

import copy
import itertools
import math
import re
import time
from typing import Any

import numpy as np
import pytest

from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.curriculum import SCHEMES, Curriculum, CurriculumConfig, read_difficulty

N = 24
LABELS = np.arange(N) % 3
LOSSES = np.random.default_rng(5).permutation(N).astype(np.float32) / N


def made(num_samples: int = N, groups: Any = LABELS, num_rounds: int = 10, **options: Any) -> Curriculum:
    options = {"name": "self-paced", "warmup": 0.0, **options}
    difficulty = options.pop("scores", None)
    return Curriculum(
        CurriculumConfig(**options),
        num_samples,
        num_rounds=num_rounds,
        seed=7,
        groups=groups,
        difficulty=difficulty,
    )


def seen(losses: Any = LOSSES, **options: Any) -> Curriculum:
    losses = np.asarray(losses, np.float32)
    curriculum = made(len(losses), **{"groups": np.arange(len(losses)) % 3, **options})
    curriculum.see(np.arange(len(losses)), losses)
    return curriculum


def included(curriculum: Curriculum, number: int = 0) -> list[int]:
    return np.flatnonzero(curriculum.begin(number).weights).tolist()


def plain(number: int, num_samples: int = N) -> list[int]:
    return np.random.default_rng([7, number]).permutation(num_samples).tolist()


def test_uniform_is_a_permutation_a_round_and_keeps_nothing():
    curriculum = made(name="uniform", warmup=0.08)
    for number in (0, 9):
        one = curriculum.begin(number)
        assert one.order.tolist() == plain(number)
        assert one.weights.tolist() == [1.0] * N
    before = curriculum.state_dict()
    curriculum.see(np.arange(N), LOSSES)
    assert before["losses"].size == 0
    assert before["rounds"] == curriculum.state_dict()["rounds"] == {}


def test_all_take_the_same_order_while_they_warm_up():
    for name in ("self-paced", "anti", "random"):
        curriculum = seen(name=name, warmup=0.25)
        for number in (0, 1, 2):  # 3 of 10 rounds begin in the first quarter
            assert curriculum.begin(number).order.tolist() == plain(number)
            assert curriculum.begin(number).report["warmup"] == 1.0
        assert len(included(curriculum, 3)) < N


def test_the_easiest_of_each_label_are_included():
    chosen = included(seen(start=0.25, end=0.5))
    expected = [rows[np.argsort(LOSSES[rows])[:2]] for rows in np.arange(N).reshape(-1, 3).T]
    assert chosen == sorted(np.concatenate(expected).tolist())
    without = included(seen(start=0.25, end=0.5, groups=None))
    assert without == sorted(np.argsort(LOSSES)[:6].tolist()) != chosen
    assert included(seen(start=0.25, end=0.5, groups=LABELS)) == chosen
    ignored = Curriculum(
        CurriculumConfig(name="self-paced", warmup=0.0, groups=False, start=0.25),
        N,
        num_rounds=10,
        seed=7,
        groups=LABELS,
    )
    ignored.see(np.arange(N), LOSSES)
    assert included(ignored) == without


def test_anti_takes_the_hardest_and_predefined_those_of_its_scores():
    hardest = included(seen(name="anti", start=0.25, groups=None))
    assert hardest == sorted(np.argsort(-LOSSES)[:6].tolist())
    scored = seen(name="predefined", difficulty="file", scores=-LOSSES, start=0.25, groups=None)
    assert included(scored) == hardest


def test_random_draws_once_for_the_run_and_grows_with_the_share():
    curriculum = seen(name="random", start=0.25, end=1.0, over=1.0, groups=LABELS)
    sets = [set(included(curriculum, number)) for number in range(10)]
    assert [len(one) for one in sets[::3]] == [6, 12, 18, 24]
    assert all(one <= two for one, two in itertools.pairwise(sets))
    assert sets[0] != set(included(seen(start=0.25)))


def test_the_share_goes_from_start_to_end_and_stays():
    curriculum = seen(start=0.25, end=0.75, over=0.5, warmup=0.2, num_rounds=20, groups=None)
    paces = [curriculum.pace_at(number) for number in range(20)]
    assert paces[:4] == [None] * 4
    assert paces[4] == pytest.approx(0.25)
    assert paces[5] == pytest.approx(0.35)
    assert paces[9:] == pytest.approx([0.75] * 11)
    assert curriculum.begin(4).report["share"] == pytest.approx(0.25)
    assert curriculum.begin(19).report["share"] == pytest.approx(0.75)
    two = seen(start=0.25, end=0.75, over=0.9, warmup=0.45, num_rounds=2)
    assert [two.pace_at(number) for number in range(2)] == [None, 0.75], "the end is due already"


def test_a_warm_up_that_takes_all_rounds_is_refused():
    expected = (
        "self-paced would never choose: the warm-up of 8% takes the first 1 of 1 epochs; give more epochs"
    )
    with pytest.raises(ValueError, match=expected):
        made(num_rounds=1, warmup=0.08)
    assert Curriculum(CurriculumConfig(), N, num_rounds=1, seed=0).pace_at(0) is None


def test_what_was_easy_stays_in_as_the_pace_grows():
    for options in ({}, {"scheme": "spld"}, {"scheme": "linear"}, {"pace": "absolute", "threshold": 0.1}):
        curriculum = seen(**options)
        sets = [set(included(curriculum, number)) for number in range(10)]
        assert all(one <= two for one, two in itertools.pairwise(sets)), options
        assert sets[0] < sets[-1], options


@pytest.mark.parametrize("schedule", ["root", "geometric"])
def test_a_schedule_is_heard(schedule: str):
    usual, other = seen(over=1.0), seen(over=1.0, schedule=schedule)
    assert usual.pace_at(5) != other.pace_at(5)
    assert usual.pace_at(9) == pytest.approx(other.pace_at(9))
    rooted = seen(over=1.0, schedule="root", root=5.0)
    assert rooted.pace_at(5) > seen(over=1.0, schedule="root").pace_at(5)


def test_the_absolute_pace_allows_a_loss_that_grows():
    curriculum = seen(pace="absolute", threshold=0.25, growth=2.0)
    assert included(curriculum, 0) == np.flatnonzero(LOSSES < 0.25).tolist()
    assert included(curriculum, 1) == np.flatnonzero(LOSSES < 0.5).tolist()
    assert curriculum.begin(1).report["pace"] == 0.5
    assert len(included(curriculum, 2)) == N


def test_a_soft_form_weighs_against_the_first_left_out():
    losses = [0.0, 0.2, 0.4, 0.8, 0.9, 1.0]
    weights = seen(losses, scheme="linear", start=0.5, groups=None).begin(0).weights
    assert weights.tolist() == pytest.approx([1.0, 0.75, 0.5, 0, 0, 0])
    weights = seen(losses, scheme="polynomial", start=0.5, groups=None).begin(0).weights
    assert weights.tolist() == pytest.approx([1.0, 0.75**0.5, 0.5**0.5, 0, 0, 0])
    weights = seen(losses, scheme="mixture", start=0.5, groups=None, inner=0.25).begin(0).weights
    assert weights.tolist() == pytest.approx([1.0, 1.0, 1 / 3, 0, 0, 0])  # z = 0.8 / 3: z / 0.4 - z / 0.8
    weights = seen(losses, scheme="logarithmic", start=0.5, groups=None).begin(0).weights
    by_hand = [math.log(x / 1.6 + 0.5) / math.log(0.5) for x in (0.0, 0.2, 0.4)]
    assert weights.tolist() == pytest.approx([*by_hand, 0, 0, 0])
    report = seen(losses, scheme="linear", start=0.5, groups=None).begin(0).report
    assert report["share"] == 0.5
    assert report["weight"] == pytest.approx(0.75)
    assert report["threshold"] == pytest.approx(0.4)


def test_spld_takes_some_of_each_label_beyond_the_easiest():
    losses = np.array([0.1, 0.2, 0.3, 0.4, 1.0, 1.1, 1.2, 1.3], np.float32)
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    narrow = seen(losses, scheme="spld", gamma=0.0, start=0.5, groups=groups)
    wide = seen(losses, scheme="spld", gamma=1.0, start=0.5, groups=groups)
    assert included(narrow) == [0, 1, 2, 3]
    # 0.1, 0.2, 0.3, 0.4 and 1.0, ... less 1, 0.414, 0.318, 0.268
    assert included(wide) == [0, 1, 2, 4]
    steep = seen(losses, scheme="spld", pace="absolute", threshold=0.15, growth=2.0, groups=groups)
    assert included(steep, 0) == [0, 1, 2, 3, 4]  # 0.15 + 1, 0.564, 0.468, 0.418
    assert included(steep, 1) == [0, 1, 2, 3, 4, 5]  # 0.3 + 2, 1.128, 0.935, ...


def test_a_round_is_as_long_as_an_epoch_and_goes_through_the_included_in_passes():
    one = seen(start=0.25, groups=None).begin(0)
    assert one.order.dtype == np.int64
    assert one.weights.dtype == np.float32
    assert len(one.order) == N
    passes = one.order.reshape(4, 6).tolist()
    assert one.num_included == 6
    assert {tuple(sorted(one_pass)) for one_pass in passes} == {tuple(np.flatnonzero(one.weights).tolist())}
    assert len({tuple(one_pass) for one_pass in passes}) == 4
    uneven = seen(start=0.4, groups=None).begin(0)
    assert len(uneven.order) == N
    assert np.bincount(uneven.order)[np.unique(uneven.order)].tolist().count(3) == 4  # 24 = 2 * 10 + 4


def test_easy_first_goes_from_easy_to_hard_again_and_again():
    rising = np.argsort(LOSSES)[:6].tolist()
    curriculum = seen(start=0.25, groups=None, order="easy-first", warmup=0.1)
    assert curriculum.begin(0).order.tolist() == plain(0), "no loss is known yet"
    assert curriculum.begin(1).order.tolist() == rising * 4
    anti = seen(name="anti", start=0.25, groups=None, order="easy-first")
    assert anti.begin(0).order.tolist() == np.argsort(-LOSSES)[:6].tolist() * 4


def test_a_round_stays_as_it_began():
    curriculum = seen()
    one = copy.deepcopy(curriculum.begin(1))
    curriculum.begin(2)  # asked for while losses of round 1 still arrive
    curriculum.see(np.arange(N), LOSSES[::-1])
    assert np.array_equal(curriculum.begin(1).order, one.order)
    assert np.array_equal(curriculum.begin(1).weights, one.weights)
    assert included(curriculum, 3) != included(seen(), 3)


def test_the_last_loss_of_a_sample_counts():
    curriculum = seen(start=0.05, groups=None)
    curriculum.see(np.array([3, 5, 3]), np.array([9.0, 8.0, -1.0], np.float32))
    assert included(curriculum) == [3]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_goes_on_where_it_was_saved(scheme: str):
    curriculum = seen(scheme=scheme)
    curriculum.begin(1)
    curriculum.see(np.arange(6), LOSSES[6:12])
    again = made(scheme=scheme)
    again.load_state_dict(copy.deepcopy(curriculum.state_dict()))
    for number in (1, 2):
        for one, two in zip(curriculum.begin(number), again.begin(number), strict=True):
            assert np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two
    with pytest.raises(ValueError, match="its curriculum is of 24 samples, not 5"):
        made(5, None).load_state_dict(curriculum.state_dict())


def test_samples_without_a_loss_count_as_told():
    for unseen, expected in (("include", [0, 1, 2, 23]), ("exclude", [0, 1, 2])):
        curriculum = made(start=0.125, groups=None, unseen=unseen)
        curriculum.see(np.arange(23), np.arange(23, dtype=np.float32))
        assert included(curriculum) == expected
    fresh = made(unseen="exclude")
    assert len(included(fresh)) == N, "nothing is known of any"
    assert fresh.begin(0).report["is_empty"] == 1.0
    assert len(included(made())) == N
    assert made().begin(0).report["is_empty"] == 0.0


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "logistic"])
def test_a_pace_below_all_losses_falls_back_to_the_easiest_of_each_label(scheme: str):
    options = {"gamma": 0.0} if scheme == "spld" else {}
    curriculum = seen(LOSSES + 0.5, pace="absolute", threshold=0.1, growth=1.0, scheme=scheme, **options)
    one = curriculum.begin(0)
    expected = [members[np.argmin(LOSSES[members])] for members in np.arange(N).reshape(-1, 3).T]
    assert np.flatnonzero(one.weights).tolist() == sorted(expected)
    assert one.report["is_empty"] == 1.0
    assert one.weights.max() == 1.0
    assert len(one.order) == N


@pytest.mark.parametrize("name", ["self-paced", "anti"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("pace", ["quantile", "absolute"])
def test_losses_that_are_not_numbers_are_never_chosen_and_counted(name: str, scheme: str, pace: str):
    if name == "anti" and (scheme, pace) != ("hard", "quantile"):
        return
    losses = LOSSES.copy()
    losses[[2, 3, 8]] = [np.nan, np.inf, np.nan]
    options = {"end": 1.0, "over": 0.1} if pace == "quantile" else {"threshold": 0.99, "growth": 1.0}
    one = seen(losses, name=name, scheme=scheme, pace=pace, **options).begin(0)
    assert np.flatnonzero(one.weights).tolist() == [place for place in range(N) if place not in (2, 3, 8)]
    assert one.report["not_finite"] == 3.0
    assert np.isfinite(one.weights).all()
    assert math.isfinite(one.report["threshold"])


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_losses_give_the_exact_share_and_the_first_are_easier(scheme: str, value: float):
    groups = np.arange(N) % 2
    one = seen(np.full(N, value), scheme=scheme, start=0.25, groups=groups).begin(0)
    assert np.count_nonzero(one.weights) == 6
    assert (np.bincount(groups[one.weights > 0]) == 3).all()
    if scheme != "logistic":  # which is 1 at a loss of 0 only
        assert set(one.weights.tolist()) == {0.0, 1.0}
        assert np.flatnonzero(one.weights).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_label_with_few_samples_keeps_one():
    groups = np.array([0] * 20 + [1] * 3 + [2])
    chosen = included(seen(groups=groups, start=0.1))
    assert np.bincount(groups[chosen]).tolist() == [2, 1, 1]


def test_labels_may_be_any_numbers():
    assert included(seen(groups=LABELS * 100 - 7)) == included(seen(groups=LABELS))


def test_a_step_takes_no_time_with_a_million_samples():
    number = 1_000_000
    curriculum = made(number, np.random.default_rng(0).integers(0, 1000, number))
    curriculum.see(np.arange(number), np.random.default_rng(1).random(number, np.float32))
    curriculum.begin(0)
    indices, losses = np.arange(0, number, number // 256), np.ones(257, np.float32)
    spent = []
    for _ in range(20):
        started = time.perf_counter()
        curriculum.see(indices, losses[: len(indices)])
        curriculum.begin(0)
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[10] < 0.01


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 0.0}, "start must be in (0, 1], got 0.0"),
        ({"end": 0.1}, "end must be between start (0.3) and 1, got 0.1"),
        ({"over": 0.05}, "over must be between warmup (0.08) and 1, got 0.05"),
        ({"warmup": 1.0}, "warmup must be in [0, 1), got 1.0"),
        ({"pace": "absolute", "threshold": 0.0}, "threshold must be positive, got 0.0"),
        ({"pace": "absolute", "growth": 0.0}, "growth must be positive, got 0.0"),
        ({"schedule": "root", "root": 0.0}, "root must be positive, got 0.0"),
        ({"scheme": "mixture", "inner": 1.0}, "inner must be in (0, 1), got 1.0"),
        ({"scheme": "polynomial", "power": 1.0}, "power must be above 1, got 1.0"),
        ({"scheme": "spld", "gamma": -1.0}, "gamma must be at least 0, got -1.0"),
        ({"scheme": "spld", "groups": False}, "groups must be true with scheme=spld"),
        ({"name": "anti", "scheme": "linear"}, "anti needs scheme=hard and pace=quantile, got linear"),
        ({"name": "predefined"}, "difficulty must name a .npy or .csv file with name=predefined, got null"),
        ({"difficulty": "x.npy"}, "difficulty has no effect with name=self-paced"),
        ({"threshold": 2.0}, "threshold has no effect with name=self-paced, pace=quantile"),
        ({"pace": "absolute", "end": 0.9}, "end has no effect with name=self-paced, pace=absolute"),
        ({"root": 3.0}, "root has no effect"),
        ({"gamma": 3.0}, "gamma has no effect"),
        ({"name": "uniform", "start": 0.2}, "start has no effect with name=uniform"),
        ({"name": "random", "unseen": "exclude"}, "unseen has no effect with name=random"),
    ],
)
def test_an_impossible_configuration_is_refused(options: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        CurriculumConfig(**{"name": "self-paced", **options})


def test_a_name_with_a_typo_is_one_sentence():
    with pytest.raises(UsageError, match=r"--name must be one of 'uniform', 'self-paced'.*got 'self-pased'"):
        parse(CurriculumConfig, ["--name", "self-pased"], prog="spl")


def test_what_does_not_fit_the_samples_is_refused():
    with pytest.raises(ValueError, match=r"groups must have a number for each of the 24 samples, got \(3,\)"):
        made(groups=np.zeros(3, np.int64))
    options = {"name": "predefined", "difficulty": "file"}
    with pytest.raises(ValueError, match=r"difficulty must have a number for each of the 24 .* got \(5,\)"):
        made(**options, scores=np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="a finite number for each sample, got none"):
        made(**options)
    with pytest.raises(ValueError, match="a finite number for each sample, got 1 that are not"):
        made(**options, scores=np.where(np.arange(N) == 3, np.nan, 0.0).astype(np.float32))
    for scheme in ("linear", "logarithmic", "mixture", "polynomial"):
        with pytest.raises(ValueError, match=rf"not be negative with scheme={scheme}, .* got -1; subtract"):
            made(**options, scheme=scheme, scores=np.full(N, -1.0, np.float32))
    made(**options, scheme="hard", scores=np.full(N, -1.0, np.float32))
    with pytest.raises(ValueError, match=r"the round must be in 0..9, got 10"):
        made().begin(10)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"scheme": "logarithmic"},
            "below 1 with scheme=logarithmic, got a threshold of 1 that becomes 10.6",
        ),
        ({"scheme": "logarithmic", "threshold": 0.5}, "a threshold of 0.5 that becomes 5.3"),
        ({"scheme": "logarithmic", "growth": 0.5}, "a threshold of 1 that becomes 0.00195"),
        (
            {"growth": 1e-300},
            "above 0 and below inf with scheme=hard, got a threshold of 1 that becomes 0 at",
        ),
    ],
)
def test_an_absolute_pace_that_its_form_cannot_take_is_refused_before_the_run(
    options: dict[str, Any], sentence: str
):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        made(pace="absolute", **options)
    made(pace="absolute", **{**options, "threshold": 0.5, "growth": 1.0})


def test_difficulties_are_read_from_a_file(tmp_path: Any):
    np.save(tmp_path / "a.npy", np.arange(4))
    (tmp_path / "a.csv").write_text("0\n1\n2\n3\n")
    (tmp_path / "headed.csv").write_text("difficulty\n0\n1\n2\n3\n")
    for name in ("a.npy", "a.csv", "headed.csv"):
        read = read_difficulty(str(tmp_path / name), 4)
        assert read.tolist() == [0, 1, 2, 3]
        assert read.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "0\n1\n", "must hold one number for each of the 4 samples, got 2"),
        ("a.csv", "0\nnan\n2\n3\n", "must hold finite numbers, got nan for sample 1"),
        ("a.csv", "0\n1,5\n2\n3\n", "must be a .npy or .csv of numbers: line 2"),
        ("a.csv", "", "must hold one number for each of the 4 samples, got 0"),
        ("a.csv", "a\nb\n1\n2\n", "must be a .npy or .csv of numbers: line 2"),
        ("a.npy", "no array", "must be a .npy or .csv of numbers: "),
        ("a.txt", "0\n1\n2\n3\n", "must end with .npy or .csv"),
        ("a.npy", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_does_not_serve_is_one_sentence(
    name: str, content: str | None, sentence: str, tmp_path: Any
):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        read_difficulty(str(tmp_path / name), 4)
    assert "\n" not in str(caught.value)


def test_an_array_of_another_kind_is_refused(tmp_path: Any):
    path = str(tmp_path / "a.npy")
    np.save(path, np.array(["a", "b", "c", "d"]))
    with pytest.raises(UsageError, match=r"must be a .npy or .csv of numbers: it holds <U1"):
        read_difficulty(path, 4)
    np.save(path, np.array([object()] * 4), allow_pickle=True)
    with pytest.raises(UsageError, match=r"must be a .npy or .csv of numbers"):
        read_difficulty(path, 4)
    with open(path, "wb") as file:
        np.savez(file, np.zeros(4), np.zeros(4))
    with pytest.raises(UsageError, match=r"must be a .npy or .csv of numbers: the magic string"):
        read_difficulty(path, 4)
    with open(path, "wb") as file:
        file.write(b"PK\x03\x04 cut")
    with pytest.raises(UsageError, match=r"must be a .npy or .csv of numbers: the magic string"):
        read_difficulty(path, 4)
    np.save(path, np.zeros((2, 2)))
    with pytest.raises(UsageError, match=r"one number for each of the 4 samples, got \(2, 2\)"):
        read_difficulty(path, 4)


@pytest.mark.parametrize(
    ("indices", "losses", "sentence"),
    [
        ([-1], [1.0], "indices must be in 0..23, got -1 to -1"),
        ([3, 24], [1.0, 1.0], "indices must be in 0..23, got 3 to 24"),
        ([0, 1], 3.0, r"losses and indices must be (B,) both, got () and (2,)"),
        ([0, 1], [1.0], r"losses and indices must be (B,) both, got (1,) and (2,)"),
    ],
)
def test_losses_of_no_sample_are_refused(indices: Any, losses: Any, sentence: str):
    curriculum = made()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        curriculum.see(np.array(indices), np.array(losses, np.float32))
    assert np.isnan(curriculum.losses).all()


def test_difficulties_that_nobody_asked_for_are_refused():
    with pytest.raises(
        ValueError, match="difficulty is of the predefined curriculum, got one for self-paced"
    ):
        made(scores=LOSSES)
