"""The picture of attention maps: what is computed for it by hand, and the file's pixels."""

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.image import imread

from spl.attention import attention_maps
from spl.attention import plot as picture
from spl.attention.insertion.insert import insert_attention
from spl.attention.maps import _size
from spl.attention.plot import draw_attention


def columns(maps: dict[str, torch.Tensor], aspect: float = 1.0) -> list[picture.Column]:
    images = torch.zeros(1, 1, round(12 * aspect), 12)
    return picture._columns(picture._last_of_each_stage(maps), images, None)


def test_a_position_is_attended_as_much_as_its_row_says():
    # Every query looks at position 2 of 2 x 2: four times an equal share there, nothing elsewhere.
    position = torch.zeros(1, 4, 4)
    position[:, 2] = 1
    assert columns({"attention.spatial": position})[0].places.tolist() == [[[0, 0], [4, 0]]]
    # Keys are the first axis: a query that gathers from all alike is no more attended than others.
    even = torch.full((1, 4, 4), 0.25)
    assert columns({"attention": even})[0].places.tolist() == [[[1, 1], [1, 1]]]


def test_a_position_is_attended_along_its_column_and_its_row():
    # 2 x 3 queries (h, w): each attends to row 1 of its column by 0.75 and to column 2 of its row by 0.25.
    cross = torch.zeros(1, 2, 3, 2 + 3)
    cross[..., 1] = 0.75
    cross[..., 2 + 2] = 0.25
    [column] = columns({"attention.rounds.0": cross})
    assert column.places.tolist() == [[[0, 0, 0.75], [1.5, 1.5, 2.25]]]
    assert column.places.sum() == 2 * 3


@pytest.mark.parametrize(
    ("num_positions", "aspect", "size"),
    [(12, 3 / 4, (3, 4)), (12, 3, (6, 2)), (7, 2, (7, 1)), (49, 1.1, (7, 7))],
)
def test_positions_take_the_form_of_the_image(num_positions, aspect, size):
    assert _size(num_positions, aspect) == size


def test_each_stage_shows_its_last_block_in_one_column():
    gates, places = torch.rand(2, 8, 1, 1), torch.rand(2, 1, 4, 4)
    maps = {}
    for block in ("layer1.0", "layer1.10", "layer2.0"):
        maps |= {f"{block}.bn2.attention.channel": gates, f"{block}.bn2.attention.spatial": places}
    found = columns(maps)
    assert [column.title for column in found] == ["layer1.10.bn2", "layer2.0.bn2"]
    assert all(column.places.shape == (2, 4, 4) and column.gates.shape == (2, 8) for column in found)
    rounds = {f"layer1.{block}.attention.rounds.{turn}": places for block in (0, 1) for turn in (0, 1)}
    assert [column.title for column in columns(rounds)] == ["layer1.1.rounds.0", "layer1.1.rounds.1"]
    # HAM has two maps of positions, and one picture holds one; a stage of one number stays.
    ham = {"channel": gates, "spatial.important": places, "spatial.rest": places, "stages.0": gates}
    assert [(column.title, column.gates is None) for column in columns(ham)] == [
        ("important", False),
        ("rest", True),
        ("stages.0", False),
    ]


def test_the_file_is_bright_where_attention_is(tmp_path):
    places = torch.zeros(2, 1, 8, 8)
    places[:, :, :4, :4] = 1
    draw_attention({"spatial": places, "channel": torch.rand(2, 6, 1, 1)}, tmp_path / "a.png", num_images=1)
    draw_attention({"spatial": 1 - places}, tmp_path / "b.png", images=torch.zeros(2, 1, 16, 16))
    one = imread(tmp_path / "a.png")[..., :3].mean(axis=2)
    cell = round(picture.CELL_INCHES * 160)
    top, left = round(0.25 * cell), round(0.22 * cell)
    quarter = one[top : top + cell // 2, left : left + cell // 2].mean()
    other = one[top + cell // 2 : top + cell, left + cell // 2 : left + cell].mean()
    assert quarter > 0.7  # the brightest colour
    assert other < 0.1
    two = imread(tmp_path / "b.png")
    assert two.shape[0] > 1.3 * one.shape[0]  # two rows
    assert two.shape[1] > 1.5 * one.shape[1]  # an image and a map
    assert np.array_equal(two[:, -1, :3], np.ones((two.shape[0], 3)))  # a light background


def test_a_map_that_hardly_varies_looks_even(tmp_path):
    places = torch.full((1, 1, 8, 8), 0.5)
    places[..., :4] += 1e-4
    draw_attention({"spatial": places}, tmp_path / "even.png")
    pixels = imread(tmp_path / "even.png")[80:300, 80:300, :3]
    assert pixels.std(axis=(0, 1)).max() < 0.01


@pytest.mark.parametrize(
    ("maps", "options", "said"),
    [
        ({}, {}, "maps is empty: run the model inside"),
        ({"a": torch.rand(2, 3, 4, 4)}, {}, r"map 'a' must have shape .* got \(2, 3, 4, 4\)"),
        (
            {"a": torch.rand(2, 3, 1, 1)},
            {"images": torch.rand(3, 3, 8, 8)},
            r"one batch .* got sizes \[2, 3\]",
        ),
        ({"a": torch.full((2, 1, 4, 4), torch.nan)}, {}, "map 'a' has values that are NaN or infinite"),
        ({"a": torch.full((2, 3, 1, 1), torch.inf)}, {}, "map 'a' has values that are NaN or infinite"),
        ({"a": torch.rand(0, 3, 1, 1)}, {}, r"at least one, got sizes \[0\]"),
        ({"a": torch.rand(2, 3, 1, 1)}, {"images": torch.rand(2, 4, 8, 8)}, r"got \(2, 4, 8, 8\)"),
    ],
)
def test_a_mistake_is_told(maps, options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        draw_attention(maps, tmp_path / "no.png", **options)


@pytest.mark.parametrize("name", ["se", "cbam", "csm", "sam", "ham", "rcca", "shared"])
def test_what_modules_make_can_be_drawn(name, tmp_path):
    net = torchvision.models.resnet18().eval()
    insert_attention(net, name, where="block" if name == "shared" else "stage")
    images = torch.rand(2, 3, 48, 64)
    with attention_maps(net) as maps, torch.inference_mode():
        net(images)
    draw_attention(maps, tmp_path / "maps.png", images=images)
    assert imread(tmp_path / "maps.png").shape[1] > 5 * picture.CELL_INCHES * 160


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_images": 0}, "num_images must be at least 1, got 0"),
        ({"images": torch.full((1, 1, 8, 8), torch.nan)}, "images has values that are NaN or infinite"),
        (
            {"images": torch.zeros(1, 1, 8, 8), "model": torch.nn.Identity()},
            "model has no module 'spatial', which made a map",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told(options, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        draw_attention({"spatial": torch.rand(1, 1, 4, 4)}, tmp_path / "a.png", **options)
    draw_attention({"spatial": torch.rand(1, 1, 4, 4)}, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").exists()
