"""What the table of networks says of each row, and that its options are heeded."""

import io
import itertools

import pytest
import torch

from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.models.image.catalog import COLUMNS, PRINTED, ModelsConfig, count_models, print_models, verdict
from spl.models.image.cost import forward_cost, num_parameters
from spl.models.image.network_table import NETWORKS
from spl.models.image.resnet import build_resnet

STL = {"resnet18-stl", "resnet34-stl", "resnet50-stl", "resnet101-stl", "wrn18-2-stl"}


def shown(**options: object) -> str:
    """Return what is printed."""
    file = io.StringIO()
    print_models(ModelsConfig(**options), file)
    return file.getvalue()


def test_rows_that_a_faithful_network_can_meet_are_met() -> None:
    bare = {}
    for key in itertools.product(PRINTED, COLUMNS):
        with torch.device("meta"):
            net = build_resnet(key[0], num_classes=10, attention=key[1])
        bare[key] = num_parameters(net) - num_parameters(net.fc)
    said = {key: verdict(*key, count) for key, count in bare.items()}
    assert len(said) == 72
    close = {
        key for key in bare if abs(bare[key] - 1e6 * PRINTED[key[0]][COLUMNS.index(key[1])][0]) <= 10_500
    }
    assert len(close) == 44
    assert all(said[key] in ("met", "near") for key in close)
    for name in STL - {"resnet18-stl"}:
        assert {said[name, attention] for attention in ("none", "se", "cbam")} == {"met"}
        assert {said[name, attention] for attention in ("eca", "ham")} == {"no (3)"}
    assert {said[name, "rcca"] for name in STL} == {"no (4)"}
    assert {said["resnext29-8x64d", attention] for attention in COLUMNS} == {"no (1)"}
    assert {said["resnext50-32x4d-stl", attention] for attention in COLUMNS} == {"no (2)"}


def test_verdict_at_the_ends_of_its_ranges() -> None:
    assert verdict("resnet20", "none", 260_000) == "met"
    assert verdict("resnet20", "none", 269_999) == "met"  # by truncation
    assert verdict("resnet20", "none", 270_000) == "near"
    assert verdict("resnet20", "none", 255_000) == "met"  # by rounding
    assert verdict("resnet20", "none", 254_999) == "near"
    assert verdict("resnet20", "none", 246_500) == "near"
    assert verdict("resnet20", "none", 246_499) == "no"
    assert verdict("resnet20", "none", 273_501) == "no"
    assert verdict("resnet20", "rcca", 300_000) == "no (4)"
    assert verdict("resnet20", "csm", 1) == ""
    assert verdict("resnet50", "none", 1) == ""


def test_counts_are_those_of_the_network_that_is_built() -> None:
    (one,) = count_models(ModelsConfig(model=("resnet20",), num_classes=7, image_size=16, attention=("csm",)))
    net = build_resnet("resnet20", num_classes=7, attention="csm")
    assert one.num_parameters == num_parameters(net)
    assert one.num_classifier == 7 * 64 + 7
    assert one.cost == forward_cost(net, (1, 3, 16, 16))


def test_each_family_has_its_usual_classes_and_size() -> None:
    cifar, imagenet = count_models(ModelsConfig(model=("resnet20", "resnet18")))
    assert (cifar.num_parameters, cifar.image_size, cifar.cost.macs) == (269_722, 32, 40_551_040)
    assert (imagenet.num_parameters, imagenet.image_size) == (11_689_512, 224)


def test_light_networks_and_those_for_small_pictures_are_counted_too() -> None:
    names = ("mobilenet_v3_small", "resnet18-small")
    light, small, *_ = count_models(ModelsConfig(model=names))
    assert (light.num_parameters, light.num_classifier, light.image_size) == (2_542_856, 1_025_000, 224)
    assert (small.num_parameters, small.num_classifier, small.image_size) == (11_173_962, 5_130, 32)
    gated, _ = (line.split() for line in shown(model=names, attention=("se",)).splitlines() if " se " in line)
    assert gated[:3] == ["mobilenet_v3_small", "se", "2,547,496"]
    left_out = "Left out: light networks with rcca and shared"
    assert left_out in shown(model=names, attention=("shared",))
    assert left_out not in shown(model=names, attention=("none",))
    with pytest.raises(ValueError, match="attention shared is for residual networks alone, got none"):
        shown(model=("squeezenet1_1",), attention=("shared",))
    with pytest.raises(
        UsageError, match="squeezenet1_1 needs pictures of at least 17 x 17, got image_size 16"
    ):
        shown(model=("squeezenet1_1",), image_size=16)


def test_the_table_tells_our_counts_the_papers_and_the_reasons() -> None:
    text = shown(model=("resnet20", "resnext29-8x64d", "resnet18"))
    cells = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  res")}
    assert cells["resnet20"][1:4] == ["none", "269,722", "0.04055"]
    assert cells["resnet20"][5:] == ["0.269", "0.26", "met", "0.08"]
    assert cells["resnext29-8x64d"][5:] == ["33.741", "33.81", "no", "(1)", "9.88"]
    assert cells["resnet18"][5:] == ["11.177"]
    assert "(1) Not reproducible" in text
    assert "(2)" not in text
    assert "near: within 0.0135 M" in text
    assert "HAM:" not in shown(model=("resnet18",), image_size=8)
    assert "0.08" not in shown(model=("resnet20",), image_size=8)  # the paper's GFLOPs are of its own size


def test_options_are_read_and_mistakes_name_the_nearest() -> None:
    words = ["--model", "resnet20,resnet32", "--attention", "none,csm", "--num_classes", "3"]
    config = parse(ModelsConfig, words, prog="spl models")
    assert config == ModelsConfig(model=("resnet20", "resnet32"), attention=("none", "csm"), num_classes=3)
    assert parse(ModelsConfig, [], prog="spl models").model == tuple(NETWORKS)
    for words, message in (
        (["--model", "wrn16-4"], "no network 'wrn16-4'; did you mean 'wrn16-8'"),
        (["--attention", "csmm"], "no attention 'csmm'; did you mean 'csm'"),
        (["--num_classes", "0"], "num_classes must be at least 1, got 0"),
        (["--image_size", "0"], r"image_size must be in 1\.\.4096, got 0"),
    ):
        with pytest.raises(UsageError, match=message):
            parse(ModelsConfig, words, prog="spl models")
