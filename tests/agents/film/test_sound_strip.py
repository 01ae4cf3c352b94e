"""The running strip: what is in the window, when it has sounded, and the mean of the decisions' weights."""

import numpy as np

from spl.agents.film.sound_strip import Strip


def columns(*values: float, rows: int = 2) -> np.ndarray:
    return np.tile(np.array(values, np.float32), (rows, 1))


def test_the_newest_is_last_and_what_has_not_sounded_is_not_there():
    strip = Strip(2, 4, 2)
    strip.begin()
    strip.push(columns(1, 2))
    strip.push(columns(3, 4))
    assert strip.window(1.0)[0].tolist() == columns(1, 2, 3, 4).tolist()
    assert strip.window(0.5)[0].tolist() == columns(0, 1, 2, 3).tolist()
    assert strip.window(0.0)[0].tolist() == columns(0, 0, 1, 2).tolist()
    strip.push(columns(5))  # a step cut short
    assert strip.window(1.0)[0].tolist() == columns(2, 3, 4, 5).tolist()


def test_a_columns_weight_is_the_mean_over_the_decisions_made_on_it():
    strip = Strip(2, 4, 2)
    strip.begin()
    strip.push(columns(1, 1))
    strip.weigh(columns(9, 9, 0.5, 1.0))  # what came before the episode is cut
    strip.push(columns(1, 1))
    strip.weigh(columns(0.0, 0.5, 0.25, 1.0))
    assert strip.window(1.0)[1].tolist() == columns(0.25, 0.75, 0.25, 1.0).tolist()
    strip.push(columns(1))
    assert strip.window(1.0)[1].tolist() == columns(0.75, 0.25, 1.0, 0.0).tolist(), "not weighed yet"


def test_no_decision_reaches_back_before_its_episode():
    strip = Strip(2, 4, 2)
    strip.begin()
    strip.push(columns(1, 1))
    strip.weigh(columns(0.5, 0.5))
    strip.begin()
    strip.push(columns(1, 1))
    strip.weigh(columns(1.0, 1.0, 1.0, 1.0))
    assert strip.window(1.0)[1].tolist() == columns(0.5, 0.5, 1.0, 1.0).tolist()


def test_it_grows_no_larger():
    strip = Strip(3, 10, 2)
    strip.begin()
    for _ in range(100):
        strip.push(columns(1, 1, rows=3))
        strip.weigh(columns(*[0.5] * 40, rows=3))
    assert {array.shape[-1] for array in vars(strip).values() if isinstance(array, np.ndarray)} == {12}
    assert (strip.window(1.0)[1] == 0.5).all()
