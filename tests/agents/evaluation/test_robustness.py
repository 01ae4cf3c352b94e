"""The robustness profile: what is drawn of which conditions, and where."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from spl.agents.conditions import Condition
from spl.agents.evaluation.robustness import draw_robustness
from spl.records import AUDIO, VIDEO


@pytest.fixture
def result():
    """An evaluation with a modality absent, one frozen, and one frozen under the monitor."""
    return {
        "conditions": {
            "all modalities": {"mean": 1.0},
            "video only": {"retained": 0.8, "retained_95": [0.7, 0.9], **Condition(AUDIO).as_json()},
            "video frozen": {
                "retained": -0.2,
                "retained_95": [-0.4, 0.1],
                **Condition(VIDEO, "frozen", 5).as_json(),
            },
            "video frozen, monitored": {
                "retained": 0.5,
                "retained_95": [0.4, 0.6],
                **Condition(VIDEO, "frozen", 5).as_json(is_monitored=True),
            },
        }
    }


def test_profile_shows_each_condition_with_its_interval(result, tmp_path, monkeypatch):
    drawn = []
    whole = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: drawn.append(self) or whole(self, *args, **options)
    )
    files = draw_robustness(result, tmp_path)
    assert [file.name for file in files] == ["robustness.png", "robustness.pdf"]
    with Image.open(files[0]) as picture:
        assert picture.width >= 1_800, "300 dots an inch"
    assert files[1].read_bytes().startswith(b"%PDF")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["absent, flagged", "frozen"]
    dots = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    assert {name: list(line.get_xdata()) for name, line in dots.items()} == {
        "audio fails": [0.8],
        "video fails": [-0.2],
        "video fails, monitored": [0.5],
    }
    ends = [segment[:, 0].tolist() for one in axes.collections for segment in one.get_segments()]
    assert sorted(ends) == [[-0.4, 0.1], [0.4, 0.6], [0.7, 0.9]]


def test_nothing_is_drawn_of_an_agent_that_retains_nothing(result, tmp_path):
    for one in result["conditions"].values():
        one.pop("retained", None)
    assert draw_robustness(result, tmp_path) == []
    assert not list(tmp_path.iterdir())
