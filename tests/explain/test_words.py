"""Sentences: each phrase is said where its condition holds, and not just beside it."""

import pytest
import torch

from spl.explain.words import LITTLE, MOST, SELDOM, Evidence, evidence_of, sentence, shares_of, thirds

BOTH = (True, True)


def told(video: float, audio: float, both: float, *, has=(True, True), present=(True, True), **places) -> str:
    action, _, words = sentence("LEFT", Evidence(has, present, (video, audio, both), **places)).partition(
        ": "
    )
    assert action == "LEFT"
    return words


def test_shares_are_of_the_changes_that_each_modality_makes():
    assert shares_of(0.6, 0.2, 0.7) == pytest.approx((0.75, 0.25))
    assert shares_of(0.5, SELDOM, 0.5) == (1.0, 0.0), "what hardly ever changes it has no share"
    assert shares_of(SELDOM, SELDOM, 0.8) == (0.5, 0.5), "either alone tells it"
    assert shares_of(SELDOM, SELDOM, SELDOM) == (0.0, 0.0)


def test_a_state_has_a_share_and_a_word():
    assert shares_of(0.2, 0.2, 0.0, 0.4) == pytest.approx((0.25, 0.25, 0.5))
    assert shares_of(SELDOM, SELDOM, 0.8, 0.0) == (0.5, 0.5, 0.0)
    assert shares_of(0.0, 0.0, 0.0, 0.3) == (0.0, 0.0, 1.0)
    both = (True, True), (True, True)
    assert (
        sentence("GO", Evidence(*both, (0.3, 0.1, 0.3, 0.6)))
        == "GO: 60 % by state and 30 % by video; audio counted for little"
    )
    assert (
        sentence("GO", Evidence(*both, (0.0, 0.0, 0.0, 0.6)))
        == "GO: 100 % by state; video and audio counted for little"
    )
    alone = Evidence((False, False), (False, False), (0.0, 0.0, 0.0, 0.6))
    assert sentence("GO", alone) == "GO: by state"
    deaf = Evidence((True, True), (True, False), (0.6, 0.0, 0.6, 0.0))
    assert sentence("GO", deaf) == "GO: 100 % by video; state counted for little; audio was absent"


def test_the_larger_share_comes_first_and_a_small_one_counted_for_little():
    assert told(0.1, 0.5, 0.5) == "83 % by audio and 17 % by video"
    assert told(0.5, 0.1, 0.5) == "83 % by video and 17 % by audio"
    assert told(0.06, 0.6, 0.6) == "91 % by audio; video counted for little"
    assert told(0.6, 0.06, 0.6) == "91 % by video; audio counted for little"
    assert told(0.9, 0.1, 0.9) == "90 % by video; audio counted for little", "a share of LITTLE is little"
    assert pytest.approx(0.1) == LITTLE


def test_both_alike_either_and_whatever():
    assert told(0.6, 0.4, 0.9) == "by both alike: 60 % by video and 40 % by audio"
    assert told(0.61, 0.39, 0.9) == "61 % by video and 39 % by audio"
    assert told(0.05, 0.0, 0.9) == "by video or audio: either alone would do"
    assert told(0.06, 0.0, 0.9) == "100 % by video; audio counted for little"
    assert told(0.05, 0.05, 0.05) == "whatever it was given"


def test_what_is_absent_or_not_there_is_told_as_such():
    assert told(0.7, 0.0, 0.7, present=(True, False)) == "by video; audio was absent"
    assert told(0.0, 0.7, 0.7, present=(False, True)) == "by audio; video was absent"
    assert (
        told(0.0, 0.0, 0.0, present=(False, False))
        == "whatever it was given; video was absent; audio was absent"
    )
    assert told(0.7, 0.0, 0.7, has=(True, False), present=(True, False)) == "by video"
    assert told(0.0, 0.7, 0.7, has=(False, True), present=(False, True)) == "by audio"


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ((0.5, 0.3, 0.2), (0.5, 0.3, 0.2), ", from the top left"),
        ((0.2, 0.3, 0.5), (0.2, 0.3, 0.5), ", from the bottom right"),
        ((0.2, 0.6, 0.2), (0.1, 0.1, 0.8), ", from the right"),
        ((0.8, 0.1, 0.1), (0.2, 0.6, 0.2), ", from the top"),
        ((0.2, 0.6, 0.2), (0.2, 0.6, 0.2), ", from the centre"),
        ((0.4, 0.4, 0.2), (0.8, 0.1, 0.1), ", from the left"),
        ((0.4, 0.4, 0.2), (0.1, 0.8, 0.1), ", from the middle columns"),
        ((0.2, 0.6, 0.2), (0.4, 0.4, 0.2), ", from the middle rows"),
        ((0.49, 0.49, 0.02), (0.49, 0.02, 0.49), ""),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), ""),
        (None, None, ""),
    ],
)
def test_a_place_is_named_where_half_of_it_lies(rows, columns, words):
    assert MOST == 0.5
    video = told(0.7, 0.0, 0.7, rows=rows, columns=columns, bands=(1.0, 0.0, 0.0))
    assert video == f"100 % by video{words}; audio counted for little"


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ((0.5, 0.25, 0.25), "low"),
        ((0.0, 0.5, 0.4), "middle"),
        ((0.2, 0.2, 0.6), "high"),
        ((0.4, 0.3, 0.3), ""),
    ],
)
def test_a_band_is_named_where_half_of_it_lies(bands, words):
    audio = told(0.0, 0.7, 0.7, rows=(1.0, 0.0, 0.0), columns=(1.0, 0.0, 0.0), bands=bands)
    assert audio == f"100 % by audio{words and f', from the {words} bands'}; video counted for little"


def test_a_name_of_an_action_stays_on_its_line():
    assert (
        sentence("a\nb", Evidence((True, True), (True, True), (0.0, 0.0, 0.0)))
        == "a\\nb: whatever it was given"
    )


def test_thirds_are_shares_of_the_heat():
    maps = torch.zeros(3, 4, 6)  # rows cut at 1 and 3, columns at 2 and 4
    maps[0, 0, 0], maps[0, 2, 5], maps[0, 3, 5] = 1.0, 2.0, 5.0
    maps[1] = 1.0
    assert thirds(maps, 1) == [(0.125, 0.25, 0.625), (0.25, 0.5, 0.25), (0.0, 0.0, 0.0)]
    assert thirds(maps, 2)[0] == (0.125, 0.0, 0.875)
    assert thirds(maps[:, :2], 1) == [None, None, None], "two rows have no thirds"
    assert thirds(None, 1) == []


def test_evidence_is_put_together_row_by_row():
    changes, present = (
        torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.25, 1.0]]),
        torch.tensor([[True, True], [False, True]]),
    )
    seen = torch.zeros(2, 3, 3)
    seen[0, 0, 2], seen[1, 2, 0] = 1.0, 1.0
    one, other = evidence_of(changes, present, BOTH, (seen, None))
    assert one == Evidence(
        (True, True), (True, True), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), None
    )
    assert other == Evidence(
        (True, True), (False, True), (0.0, 0.25, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), None
    )
