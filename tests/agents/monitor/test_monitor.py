"""The monitor: signs worked out by hand, what is found of which failure, and what is not."""

from dataclasses import replace

import numpy as np
import pytest

from spl.agents.conditions import UNTOUCHED, Condition, Spoiler, conditions
from spl.agents.evaluation.monitored import detection
from spl.agents.monitor.monitor import (
    CALM,
    CUT,
    MARGIN,
    Fitting,
    Lags,
    ModalityMonitor,
    Reader,
    Usual,
    canonical,
)
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.records import AUDIO, VIDEO, Observation


def observation(video, audio, present=(True, True)):
    return Observation(
        np.array([video], np.uint8), np.array([audio], np.float16), np.array(present, np.bool_)
    )


def test_signs_by_hand():
    reader = Reader()
    one = observation([[0, 4], [2, 2]], [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    seen = reader.read(one, VIDEO)
    assert seen.values == pytest.approx([2.0, np.sqrt(2.0), 2.0])  # mean, spread; |4 - 0|, |2 - 2|
    assert seen.code.tolist() == [0, 4, 2, 2]  # too small a picture to be summed up
    heard = reader.read(one, AUDIO)
    assert heard.values == pytest.approx([0.5, np.sqrt(1 / 6), 0.5])  # between neighbouring bands
    assert heard.code.tolist() == [0.0, 0.5, 1.0]
    wide = observation(np.arange(256).reshape(16, 16), [[0.0]])
    assert reader.read(wide, VIDEO).code[[0, 1, 8]].tolist() == [8.5, 10.5, 40.5]  # of 2 x 2 pixels


def test_steps_that_bring_nothing_new_are_counted():
    reader = Reader()
    pictures = [1, 2, 2, 2, 3, 2, 1, 4]  # of the last 16, not the newest alone
    counts = [reader.read(observation([[one]], [[0.0]]), VIDEO).stale for one in pictures]
    assert counts == [0, 0, 1, 2, 0, 1, 2, 0]
    reader.begin()
    assert reader.read(observation([[4]], [[0.0]]), VIDEO).stale == 0, "an episode begins anew"


def test_fit_of_variates_by_hand():
    lags = Lags(np.array([0.6]))
    # -ln(0.64) / 2 - (0.36 * 2 - 1.2) / 1.28 for a pair of ones; apart they fit worse
    assert lags.fit(np.array([1.0]), np.array([1.0])) == pytest.approx(0.2231 + 0.375, abs=1e-4)
    assert lags.fit(np.array([1.0]), np.array([-1.0])) == pytest.approx(0.2231 - 1.5, abs=1e-4)


def test_lags_add_up_what_speaks_for_them_and_for_no_other():
    lags, draw = Lags(np.array([0.95])), np.random.default_rng(0)
    true = draw.normal(size=(40, 1))
    for step in range(40):
        lags.add(true[step], true[max(step - 3, 0)])  # the sound lags by three
    assert np.unravel_index(lags.sums.argmax(), lags.sums.shape) == (AUDIO, 2)
    assert lags.sums[AUDIO, 2] > 4 * CUT
    for step in range(40):
        lags.add(true[step], true[step], most=100.0)
    assert lags.sums.max() < CUT, "in step again, the sums come down"


def test_independent_streams_have_no_correlation_and_equal_ones_have():
    draw = np.random.default_rng(0)
    video, audio = draw.normal(size=(4_000, 20)), draw.normal(size=(4_000, 12))
    assert canonical(video, audio)[2].size == 0
    audio[:, 0] = video[:, 3] + 0.5 * draw.normal(size=4_000)
    video_map, audio_map, correlations = canonical(video[:, :6], audio)
    assert correlations == pytest.approx([1 / np.sqrt(1.25)], abs=0.02)
    x, y = video[:, :6] @ video_map, audio @ audio_map
    assert np.corrcoef(x[:, 0], y[:, 0])[0, 1] == pytest.approx(correlations[0], abs=0.02)
    assert x.std() == pytest.approx(1.0, abs=0.01)


def usual_by_hand(**changes):
    """Usual values: video mean 10..20, no spread, no roughness; audio likewise 0.4..0.6."""
    low, high = np.array([[10.0, 0.0, 0.0], [0.4, 0.0, 0.0]]), np.array([[20.0, 0.0, 0.0], [0.6, 0.0, 0.0]])
    nothing = np.zeros((1, 0))
    usual = Usual(100, np.array([2, 0]), low, high, *[np.zeros(1)] * 2, nothing, nothing, np.zeros(0), 0.0)
    return replace(usual, **changes)


def watched(monitor, levels, sounds=None):
    """Which modalities are flagged at each step of an episode of these levels."""
    sounds = [0.5 + step / 1000 for step in range(len(levels))] if sounds is None else sounds
    found = []
    for step, (video, audio) in enumerate(zip(levels, sounds, strict=True)):
        given = monitor(observation([[video]], [[audio]]), is_first=step == 0)
        assert given.present.tolist() == (~monitor.failed[0]).tolist()
        assert bool(given.video.any()) == bool(given.present[VIDEO])
        found.append(monitor.failed[0].tolist())
    return [[one[modality] for one in found] for modality in (VIDEO, AUDIO)]


def test_a_stream_that_stands_still_is_flagged_after_its_longest_usual_run_until_the_episode_ends():
    monitor = ModalityMonitor(usual_by_hand())
    levels = [11, 12, 12, 12, 12, 12, 13, 14, 15]  # 1, 2, 3 and 4 steps of nothing new: 1.5 x 2 are usual
    assert watched(monitor, levels) == [[False] * 5 + [True] * 4, [False] * 9]
    assert watched(monitor, levels[:4]) == [[False] * 4, [False] * 4], "the next episode begins anew"


def test_unusual_values_are_flagged_until_they_were_usual_for_a_while():
    levels = [12, 21, *range(11, 20), 12, 13, 14]
    video, audio = watched(ModalityMonitor(usual_by_hand(stale=np.array([99, 99]))), levels)
    assert video == [False] + [True] * CALM + [False] * (len(levels) - CALM - 1)
    assert not any(audio)
    _, audio = watched(ModalityMonitor(usual_by_hand()), [11, 12], [0.5, 0.3])
    assert audio == [False, True]
    _, audio = watched(ModalityMonitor(usual_by_hand()), [11, 12], [0.5, np.nan])
    assert audio == [False, True]


def test_what_is_absent_already_is_left_alone():
    monitor = ModalityMonitor(usual_by_hand())
    for step in range(5):
        given = monitor(observation([[0]], [[0.5 + step / 1000]], present=(False, True)), is_first=step == 0)
        assert given.present.tolist() == [False, True]
        assert not monitor.failed.any()


def test_environments_are_watched_by_themselves():
    monitor = ModalityMonitor(usual_by_hand(), num_envs=2)
    for env, level in enumerate((99, 15)):
        monitor(observation([[level]], [[0.5]]), env, is_first=True)
    assert monitor.failed.tolist() == [[True, False], [False, False]]


def test_what_is_usual_is_fitted_and_outlives_a_checkpoint():
    fitting = Fitting()
    with pytest.raises(ValueError, match="needs two steps or more, got 0"):
        fitting.usual()
    fitting.absent = (AUDIO,)
    for step, level in enumerate((10, 10, 20, 15)):
        given = fitting(observation([[level]], [[0.5 + step / 64]]), is_first=step == 0)
        assert given.present.tolist() == [True, False]
        assert not given.audio.any()
    usual = fitting.usual()
    assert usual.num_steps == 4
    assert usual.stale.tolist() == [1, 0]
    assert usual.low[VIDEO, 0] == pytest.approx(10 - MARGIN * 10)
    assert usual.high[VIDEO, 0] == pytest.approx(20 + MARGIN * 10)
    assert usual.high[AUDIO, 0] == pytest.approx(0.5 + 3 / 64 * (1 + MARGIN)), (
        "as it was, not as it was given"
    )
    again = Usual.from_state(usual.state_dict())
    assert all(np.array_equal(getattr(again, name), value) for name, value in usual.state_dict().items())


def test_detection_by_hand():
    def flags(*found):  # steps and modalities
        episode = np.zeros((10, 2), bool)
        for step, modality in found:
            episode[step, modality] = True
        return episode

    frozen = Condition(VIDEO, "frozen", 4)
    episodes = [flags((4, VIDEO)), flags((2, VIDEO), (6, VIDEO), (7, AUDIO)), flags(), flags()[:4]]
    told = detection(episodes, frozen)
    assert told["false_alarms"] == 2 / 34  # before it failed, and of the other modality
    assert told["found"] == pytest.approx(2 / 3)  # the last episode was over before
    assert (told["found_median"], told["found_90"]) == (3.0, None)
    assert detection([flags((1, AUDIO))], UNTOUCHED) == {"false_alarms": 0.1}


@pytest.fixture(scope="module")
def world():
    """The greeting world, and what is usual of it over 12 episodes at random."""
    env = make_env(EnvConfig(id="spl/Greeting-v0", video_size=(64, 64)))
    fitting = Fitting()
    for seed in range(12):
        for step, one in enumerate(episode_of(env, seed)):
            fitting(one, is_first=step == 0)
    yield env, fitting.usual()
    env.close()


def episode_of(env, seed, num_steps=None):
    draw = np.random.default_rng(seed)
    one, _ = env.reset(seed=seed)
    is_over, step = False, 0
    while not is_over and step != num_steps:
        yield one
        # of the oracle's actions a few are random: hands are held out and voices heard
        action = env.get_wrapper_attr("oracle_action")() if draw.random() < 0.7 else draw.integers(4)
        one, _, is_over, _, _ = env.step(int(action))
        step += 1


def flags_under(world, condition, seeds=range(100, 103), num_steps=60):
    env, usual = world
    found = []
    for seed in seeds:
        monitor = ModalityMonitor(usual)
        spoil = Spoiler(condition, is_waveform=False, generator=np.random.default_rng(seed))
        flags = []
        for step, one in enumerate(episode_of(env, seed, num_steps)):
            monitor(spoil(one, step), is_first=step == 0)
            flags.append(monitor.failed[0].copy())
        found.append(np.array(flags))
    return found


@pytest.mark.parametrize("name", ["frozen", "hissing", "delayed", "mute"])
@pytest.mark.parametrize("modality", [VIDEO, AUDIO])
def test_each_unflagged_failure_is_found_within_ten_steps(world, modality, name):
    condition = Condition(modality, name, 30)
    assert condition in conditions(world[0].spec_of_streams, 30, with_unflagged=True).values()
    told = detection(flags_under(world, condition), condition)
    assert told["found"] == 1.0
    assert told["found_90"] is not None
    assert told["found_90"] <= 10
    assert told["false_alarms"] < 0.01


def test_what_works_is_left_alone(world):
    assert detection(flags_under(world, UNTOUCHED, num_steps=None), UNTOUCHED)["false_alarms"] < 0.01


@pytest.mark.parametrize("modality", [VIDEO, AUDIO])
def test_a_stream_that_always_lagged_is_found_where_the_modalities_tell_of_one_another(world, modality):
    env, usual = world
    assert usual.correlations[0] > 0.9, "footsteps are seen and heard"
    unseen = env, replace(usual, stale=np.array([1_000, 1_000]))  # its beginning shall give nothing away
    late = Condition(modality, "delayed", 0)
    told = detection(flags_under(unseen, late), late)
    assert told["found"] == 1.0
    blind = env, replace(unseen[1], correlations=np.zeros(0))
    assert detection(flags_under(blind, late), late)["found"] == 0.0
