"""Counts of the papers as integers, torchvision's weights, and where attention stands."""

import copy
import itertools
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from spl.attention import ATTENTION, attention_maps
from spl.attention.insertion.insert import insert_attention
from spl.models.image.cost import macs, num_parameters
from spl.models.image.network_table import RESNETS
from spl.models.image.resnet import PaddedShortcut, ResNet, build_resnet

COLUMNS = ("none", "se", "eca", "cbam", "rcca", "ham")
# Parameters with a classifier of 10 classes. Kernels of one-dimensional convolutions have k weights, and the
# passes of criss-cross attention share theirs, so the paper's own figures differ for some.
TEN_CLASSES = {
    "resnet20": (269_722, 271_738, 269_749, 272_620, 292_719, 270_685),
    "resnet56": (853_018, 859_066, 853_099, 861_712, 876_015, 855_907),
    "wrn16-8": (10_795_482, 10_881_498, 10_795_512, 10_882_086, 12_287_611, 10_796_136),
    "resnet18-stl": (11_007_818, 11_094_858, 11_007_854, 11_095_642, 12_499_947, 11_008_686),
    "resnet50-stl": (20_751_946, 23_266_890, 20_752_032, 23_268_458, 44_660_939, 20_753_696),
}
# Without the classifier, as the paper counts: only what no convention of its own separates from ours.
BARE = {
    "resnet20": {"none": 269_072, "se": 271_088, "eca": 269_099, "cbam": 271_970, "ham": 270_035},
    "resnet56": {"none": 852_368, "se": 858_416, "eca": 852_449, "cbam": 861_062, "ham": 855_257},
    "wrn16-8": {
        "none": 10_790_352,
        "se": 10_876_368,
        "eca": 10_790_382,
        "cbam": 10_876_956,
        "ham": 10_791_006,
    },
    "resnet18-stl": {"none": 11_002_688, "se": 11_089_728, "cbam": 11_090_512},
    "resnet50-stl": {"none": 20_731_456, "se": 23_246_400, "cbam": 23_247_968},
    "resnext50-32x4d-stl": {"none": 20_203_328},
}
# The paper's own count of this network, which takes four numbers a channel of each normalisation.
RESNEXT29 = {
    "none": 33_805_258,
    "se": 34_321_354,
    "eca": 33_805_303,
    "cbam": 34_322_236,
    "rcca": 39_863_372,
    "ham": 33_806_275,
}
# Criss-cross attention with weights of its own in each pass, as the paper counts it; without the classifier.
UNSHARED = {
    "resnet20": 292_890,
    "resnet56": 876_186,
    "wrn16-8": 12_306_962,
    "resnet18-stl": 12_519_298,
    "resnet50-stl": 44_984_130,
}
# The variants of the HAM paper's tables 1 and 2: ResNet-56 without the classifier.
VARIANTS = [
    ("cbam", {"spatial": "none"}, 858_416),
    ("cbam", {"spatial": "none", "is_adaptive": True}, 858_470),
    ("ham", {"spatial": "none", "is_adaptive": False}, 852_449),
    ("ham", {"spatial": "none"}, 852_503),
    ("ham", {"spatial": "pooled"}, 855_149),
    ("ham", {"kernel_size": 3}, 853_097),
    ("ham", {"kernel_size": 5}, 853_961),
    ("ham", {"kernel_size": 7}, 855_257),
]
MACS = {
    "resnet20": 40_551_040,
    "resnet56": 125_485_696,
    "wrn16-8": 1_529_271_296,
    "resnet18-stl": 1_253_233_664,
    "resnet50-stl": 2_503_675_904,
}
IMAGENET = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "wrn18-1.5": 25_875_816,
}
SMALL = {  # the same with a stem for small pictures, and 10 or 100 classes
    "resnet18": (11_173_962, 11_220_132),
    "resnet34": (21_282_122, 21_328_292),
    "resnet50": (23_520_842, 23_705_252),
    "wrn18-1.5": (25_106_826, 25_176_036),
}
# What attention adds to these, per block and per stage: channel, position, position with keys of C / 8.
ADDED = {
    "resnet18": ((87_040, 43_520), (2_094_720, 1_047_360), (872_800, 436_400)),
    "resnet34": ((157_184, 43_520), (3_783_744, 1_047_360), (1_576_560, 436_400)),
    "resnet50": ((2_514_944, 696_320), (60_403_968, 16_723_200), (25_168_320, 6_968_000)),
    "wrn18-1.5": ((195_840, 97_920), (4_708_800, 2_354_400), (1_962_000, 981_000)),
}
POOLED = {"resnet18": 784, "resnet34": 1_568, "resnet50": 1_568, "wrn18-1.5": 784}


def build(name: str, num_classes: int = 10, **options: Any) -> ResNet:
    """Build without weights: only counts matter."""
    with torch.device("meta"):
        return build_resnet(name, num_classes=num_classes, **options)


def small(**options: Any) -> ResNet:
    """Return a small net with fixed weights, evaluating."""
    torch.manual_seed(0)
    return build_resnet("resnet20", num_classes=4, **options).eval()


@pytest.mark.parametrize(("name", "counts"), TEN_CLASSES.items())
def test_parameters_with_ten_classes(name: str, counts: tuple[int, ...]) -> None:
    built = {attention: num_parameters(build(name, attention=attention)) for attention in COLUMNS}
    assert built == dict(zip(COLUMNS, counts, strict=True))


@pytest.mark.parametrize(("name", "counts"), BARE.items())
def test_parameters_without_the_classifier_are_the_papers(name: str, counts: dict[str, int]) -> None:
    built = {attention: build(name, attention=attention) for attention in counts}
    assert {key: num_parameters(net) - num_parameters(net.fc) for key, net in built.items()} == counts


@pytest.mark.parametrize(("attention", "options", "count"), VARIANTS)
def test_parameters_of_the_variants_of_tables_1_and_2(
    attention: str, options: dict[str, Any], count: int
) -> None:
    net = build("resnet56", attention=attention, attention_options=options)
    assert num_parameters(net) - num_parameters(net.fc) == count
    printed = 86 if attention == "cbam" else 85  # hundredths of a million, by rounding or truncation
    assert printed in (count // 10_000, (count + 5_000) // 10_000)


@pytest.mark.parametrize(("name", "count"), UNSHARED.items())
def test_parameters_of_criss_cross_attention_without_shared_weights(name: str, count: int) -> None:
    net = build(name, attention="rcca", attention_options={"is_shared": False})
    assert num_parameters(net) - num_parameters(net.fc) == count


def test_resnext29_is_the_papers_up_to_its_count_of_moving_statistics() -> None:
    for attention, count in RESNEXT29.items():
        options = {"is_shared": False} if attention == "rcca" else {}
        net = build("resnext29-8x64d", attention=attention, attention_options=options)
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        moving = sum(2 * norm.num_features for norm in norms)
        assert num_parameters(net) + moving == count, attention


@pytest.mark.parametrize(("name", "count"), MACS.items())
def test_macs_of_convolutions_and_the_classifier(name: str, count: int) -> None:
    size = RESNETS[name].image_size
    assert macs(build(name), (1, 3, size, size)) == count


@pytest.mark.parametrize(("name", "count"), IMAGENET.items())
def test_parameters_that_attention_adds_with_a_thousand_classes(name: str, count: int) -> None:
    assert num_parameters(build(name, 1000)) == count
    channel, position, reduced = ADDED[name]
    cases = (("cam", {}, channel), ("sam", {}, position), ("sam", {"query_reduction": 8}, reduced))
    for (attention, options, added), per in itertools.product(cases, ("block", "stage")):
        net = build(name, 1000, attention=attention, attention_options=options, attention_per=per)
        gammas = sum(tensor.numel() for key, tensor in net.named_parameters() if key.endswith("gamma"))
        assert num_parameters(net) - gammas == count + added[per == "stage"], (attention, options, per)
    pooled = build(name, 1000, attention="csm", attention_options={"spatial": "pooled", "residual": False})
    assert num_parameters(pooled) == count + channel[0] + POOLED[name]


@pytest.mark.parametrize("name", IMAGENET)
@pytest.mark.parametrize("num_classes", [10, 100])
def test_parameters_of_the_networks_for_small_pictures(name: str, num_classes: int) -> None:
    # A stem of 3 x 3 x 3 x 64 = 1,728 weights where ImageNet's has 7 x 7 x 3 x 64 = 9,408; all else alike.
    width = {"resnet50": 2048, "wrn18-1.5": 768}.get(name, 512)
    count = IMAGENET[name] - 9_408 + 1_728 + (num_classes - 1_000) * (width + 1)
    assert count == SMALL[name][num_classes == 100]
    assert num_parameters(build(f"{name}-small", num_classes)) == count


def test_operations_of_a_network_for_small_pictures() -> None:
    # By hand, at 32 x 32: the stem, four 3 x 3 convolutions at 32 x 32; then in each stage three whole
    # convolutions, a half one for its stride, and a 1 x 1 projection; the classifier.
    stem, first, further = 27 * 64 * 32**2, 4 * 9 * 64 * 64 * 32**2, 0
    for channels, side in ((128, 16), (256, 8), (512, 4)):
        further += (3 * 9 * channels**2 + 9 * channels * channels // 2 + channels * channels // 2) * side**2
    count = stem + first + further + 5_120
    assert count == 555_422_720
    assert macs(build("resnet18-small"), (1, 3, 32, 32)) == count


@pytest.mark.parametrize(
    ("num_classes", "options", "count"),
    [(1000, {}, 26_253_352), (1000, {"bias": True}, 26_257_432), (10, {}, 24_224_842)],
)
def test_parameters_of_shared_attention(num_classes: int, options: dict[str, Any], count: int) -> None:
    net = build("resnet50", num_classes, attention="shared", attention_options=options)
    assert num_parameters(net) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_torchvisions_weights_load_and_give_equal_logits(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, num_classes=7)
    for norm in (module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.weight, 0.2, 0.5)
    ours = build_resnet(name, num_classes=7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 65, 64)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize("name", [name for name in RESNETS if not name.endswith(("56", "101", "110", "152"))])
def test_pictures_of_any_size_give_logits(name: str) -> None:
    net = build(name)
    for height, width in ((1, 1), (33, 47)):
        images = torch.empty(2, 3, height, width, device="meta")
        assert net(images).shape == (2, 10)
        assert net.eval().features(images).shape == (2, net.fc.in_features)


def test_shortcut_without_weights_takes_means_and_adds_zeros() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    out = PaddedShortcut(1, 3, 2)(x)
    assert torch.equal(out[0, 0], torch.tensor([[2.0, 3.5], [6.5, 8.0]]))  # an odd edge: of what there is
    assert torch.equal(out[0, 1:], torch.zeros(2, 2, 2))
    assert torch.equal(PaddedShortcut(1, 3, 1)(x)[0, 0], x[0, 0])


def test_strides_lie_where_each_family_has_them() -> None:
    for name, first, second in (("resnet50-stl", 2, 1), ("resnext29-8x64d", 2, 1), ("resnet50", 1, 2)):
        block = build(name).layer2[0]
        assert (block.conv1.stride[0], block.conv2.stride[0]) == (first, second)
    # Of the last maps of a picture of 32 x 32.
    sizes = {"resnet20": 8, "resnet18-stl": 2, "resnet18": 1, "resnet18-small": 4, "wrn18-1.5-small": 4}
    for name, size in sizes.items():
        net = build(name).eval()
        shapes: list[torch.Size] = []
        last = net.get_submodule(f"layer{net.num_stages}")
        last.register_forward_hook(lambda _, __, out, shapes=shapes: shapes.append(out.shape))
        net(torch.empty(1, 3, 32, 32, device="meta"))
        assert shapes[0][2:] == (size, size)


def test_weights_start_kaiming_normal_and_repeat_with_the_seed() -> None:
    net, again = small(), small()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    weight = net.layer3[0].conv1.weight  # (64, 32, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert torch.equal(net.bn1.weight, torch.ones(16))
    assert torch.equal(net.bn1.bias, torch.zeros(16))
    other = build_resnet("resnet20", num_classes=4)
    assert not torch.equal(other.conv1.weight, net.conv1.weight)


@pytest.mark.parametrize(
    ("name", "attention"), [*itertools.product(["resnet20"], ATTENTION), ("resnet50-stl", "shared")]
)
def test_every_attention_trains_in_a_net(name: str, attention: str) -> None:
    torch.manual_seed(0)
    net = build_resnet(name, num_classes=4, attention=attention)
    loss = functional.cross_entropy(net(torch.randn(3, 3, 16, 16)), torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_attention_stands_between_the_last_normalisation_and_the_sum() -> None:
    net = small(attention="csm")
    block = net.layer2[0]
    seen: dict[str, Tensor] = {}
    block.bn2.register_forward_hook(lambda _, __, out: seen.update(branch=out))
    block.attention.register_forward_hook(lambda _, given, out: seen.update(given=given[0], out=out))
    x = torch.randn(2, 16, 8, 8)
    out = block(x)
    assert torch.equal(seen["given"], seen["branch"])
    assert not torch.equal(seen["out"], seen["branch"])
    assert torch.equal(out, functional.relu(seen["out"] + block.downsample(x)))


def test_attention_per_stage_follows_the_stage() -> None:
    net = small(attention="csm", attention_per="stage")
    attentions = [name for name, _ in net.named_modules() if name.endswith("attention")]
    stages = [name for name in attentions if name.count(".") == 1]
    assert stages == ["layer1.attention", "layer2.attention", "layer3.attention"]
    assert all(isinstance(net.get_submodule(name), nn.Identity) for name in set(attentions) - set(stages))
    x = torch.randn(2, 16, 8, 8)
    *blocks, attention = net.layer1
    assert torch.equal(net.layer1(x), attention(nn.Sequential(*blocks)(x)))


def test_shared_attention_is_computed_once_per_stage_and_scales_every_block() -> None:
    net = small(attention="shared").double()
    calls: list[str] = []
    for name in ("layer1", "layer2", "layer3"):
        reduce = net.get_submodule(f"{name}.attention.reduce")
        reduce.register_forward_hook(lambda *_, name=name: calls.append(name))
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with attention_maps(net) as maps:
        logits = net(images)
    assert calls == ["layer1", "layer2", "layer3"]
    assert set(maps) == {"layer1.attention", "layer2.attention", "layer3.attention"}

    x = functional.relu(net.bn1(net.conv1(images)))
    for stage in (net.layer1, net.layer2, net.layer3):
        *blocks, shared = stage
        gate = shared.gate(blocks[0].branch(x))
        for block in blocks:
            x = functional.relu(gate * block.branch(x) + block.downsample(x))
    torch.testing.assert_close(net.fc(x.mean(dim=(2, 3))), logits)


def test_attention_stands_in_the_stages_that_are_named() -> None:
    # Two squeeze-excitations of 2 C^2 / 16 in each of the stages of 16, 32 and 64 channels.
    base = num_parameters(build("resnet20"))
    for stages, added in (((2,), 3 * 128), ((1, 3), 3 * 32 + 3 * 512), ((3, 1), 3 * 32 + 3 * 512)):
        assert num_parameters(build("resnet20", attention="se", attention_stages=stages)) == base + added
    for options in ({"attention": "se", "attention_per": "stage"}, {"attention": "shared"}):
        net = build("resnet20", attention_stages=(2,), **options)
        assert num_parameters(net) == base + 128
        gated = {name.rpartition(".attention")[0] for name, _ in net.named_modules() if "reduce" in name}
        assert gated == {"layer2"}
    images = torch.randn(2, 3, 8, 8)
    last, none = small(attention="shared", attention_stages=(3,)), small()
    for name in ("conv1", "bn1", "layer1", "layer2"):
        last.get_submodule(name).load_state_dict(none.get_submodule(name).state_dict())
    seen: list[Tensor] = []
    for net in (last, none):
        net.layer2.register_forward_hook(lambda _, __, out: seen.append(out))
        net(images)
    assert torch.equal(*seen)


def test_shared_attention_learns_from_later_blocks_and_forgets_between_passes() -> None:
    net = small(attention="shared")
    first, second = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    net(first)
    assert torch.equal(net(second), copy.deepcopy(net)(second))
    assert torch.equal(net(first[:1]), net(first[:1]))
    stage = net.layer1
    branches: list[Tensor] = []
    stage[0].register_forward_hook(lambda _, __, out: out.detach())  # nothing flows back through block 1
    stage[1].register_forward_hook(lambda _, __, out: out.detach())
    stage[2].register_forward_hook(lambda _, __, out: branches.append(out))
    stage(torch.randn(2, 16, 8, 8)).square().sum().backward()
    assert branches[0].shape == (2, 16, 8, 8)
    assert stage.attention.reduce.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("attention", ["shared", "rcca"])
def test_a_net_is_one_graph_and_exports(attention: str) -> None:
    net = small(attention=attention)
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        logits = net(images)
        exported = torch.export.export(net, (images,)).module()
        torch.testing.assert_close(exported(images), logits)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "wrn16-4"}, "no network 'wrn16-4'; did you mean 'wrn16-8'"),
        ({"name": "bogus"}, "no network 'bogus'; there are resnet20, "),
        ({"attention": "csmm"}, "no attention 'csmm'; did you mean 'csm'"),
        (
            {"attention": "ham", "attention_options": {"lamda": 1}},
            "'ham' has no option 'lamda'; it has share",
        ),
        (
            {"attention": "none", "attention_options": {"bias": True}},
            "'none' has no option 'bias'; it has none",
        ),
        ({"attention": "rcca", "attention_options": {"reduction": 2}}, "it has recurrence, is_shared"),
        (
            {"attention": "ham", "attention_options": {"share": "abc"}},
            "share of ham must be a number, got 'abc'",
        ),
        ({"attention": "ham", "attention_options": {"share": float("nan")}}, "must be a number, got nan"),
        (
            {"attention": "se", "attention_options": {"bias": "maybe"}},
            "bias of se must be True or False, got ",
        ),
        ({"attention": "se", "attention_options": {"bias": 1}}, "bias of se must be True or False, got 1"),
        (
            {"attention": "se", "attention_options": {"reduction": 4.0}},
            "reduction of se must be an integer or None, got 4.0",
        ),
        (
            {"attention": "cbam", "attention_options": {"kernel_size": True}},
            "must be an integer, got True",
        ),
        ({"attention": "csm", "attention_options": {"order": 3}}, "order of csm must be a text, got 3"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"attention_per": "net"}, "attention_per must be 'block' or 'stage', got 'net'"),
        ({"attention": "rcca", "attention_per": "stage"}, "'rcca' has a place of its own"),
        ({"attention": "shared", "attention_per": "stage"}, "'shared' has a place of its own"),
        (
            {"attention": "shared", "attention_stages": (4,)},
            r"attention_stages must be in 1\.\.3, the stages of resnet20, got 4",
        ),
        ({"attention": "se", "attention_stages": (0,)}, r"in 1\.\.3, the stages of resnet20, got 0"),
        ({"attention": "se", "attention_stages": (2, 2)}, "must name each stage once, got 2,2"),
        ({"attention": "rcca", "attention_stages": (3,)}, "'rcca' stands in no stage"),
        ({"attention_stages": (3,)}, "'none' stands in no stage"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_resnet(**{"name": "resnet20", "num_classes": 10, **changes})


def test_numbers_may_be_whole_and_options_may_be_left_to_the_module() -> None:
    build("resnet20", attention="se", attention_options={"reduction": None, "bias": True})
    with pytest.raises(ValueError, match="share must leave both groups channels, got 1 of 16"):
        build("resnet20", attention="ham", attention_options={"share": 1})
    with pytest.raises(ValueError, match="bias of se must be True or False, got 'no'"):
        insert_attention(build("resnet20"), "se", bias="no")
