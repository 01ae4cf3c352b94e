"""Attention in networks of torchvision and timm: the same outputs and keys at first."""

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
import torchvision
from torch import nn

from spl.attention import ATTENTION, attention_maps
from spl.attention.insertion.insert import insert_attention
from spl.models.image.resnet import build_resnet

VISION = torchvision.models
NETS = {
    "resnet18": VISION.resnet18,
    "resnet50": VISION.resnet50,
    "resnext50": VISION.resnext50_32x4d,
    "wide50": VISION.wide_resnet50_2,
    "timm18": lambda: timm.create_model("resnet18", pretrained=False, zero_init_last=False),
    "timm50": lambda: timm.create_model("resnet50", pretrained=False, zero_init_last=False),
    "timm_se_drop": lambda: timm.create_model(
        "seresnet50", pretrained=False, drop_path_rate=0.1, zero_init_last=False
    ),
}
STAGES_18 = [64, 128, 256, 512]


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def gates_of(channels: int) -> int:
    """Parameters of a pooled CSM: channel gates without biases, a 7 x 7 kernel of two maps, one gamma."""
    return 2 * channels * (channels // 16) + 98 + 1


def small_net() -> nn.Module:
    """A ResNet-18 of 8 to 64 channels, small enough to compile and export in seconds."""
    torch.manual_seed(0)
    blocks = timm.models.resnet.BasicBlock
    return timm.models.resnet.ResNet(
        blocks, [2, 1, 1, 1], num_classes=5, channels=(8, 16, 32, 64), stem_width=8, zero_init_last=False
    )


def wake(net: nn.Module, gamma: float = 0.5) -> nn.Module:
    """Set every gamma to what changes the output."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(gamma)
    return net


@pytest.mark.parametrize("name", NETS)
def test_a_network_computes_the_same_and_keeps_its_keys(name):
    torch.manual_seed(0)
    net = NETS[name]().eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        before = net(x)
    old = {key: value.clone() for key, value in net.state_dict().items()}
    num_before = num_parameters(net)
    result = insert_attention(net, "csm", spatial="pooled")
    with torch.inference_mode():
        assert torch.equal(net(x), before)
        assert not torch.allclose(wake(net)(x), before)
    missing, unexpected = net.load_state_dict(old, strict=False)
    assert unexpected == []
    assert missing
    assert all(".attention." in key or ".blend." in key for key in missing)
    depths, widths = ([2] * 4, STAGES_18) if "18" in name else ([3, 4, 6, 3], [256, 512, 1024, 2048])
    added = sum(depth * gates_of(width) for depth, width in zip(depths, widths, strict=True))
    assert result.num_before == num_before
    assert result.num_after == num_parameters(net) == num_before + added
    last = "bn2" if "18" in name else "bn3"
    assert [one.after for one in result.inserted] == [
        f"layer{1 + stage}.{block}.{last}" for stage, depth in enumerate(depths) for block in range(depth)
    ]
    assert sum(one.num_parameters for one in result.inserted) == added


def test_it_stands_after_the_norm_and_before_the_add():
    net = VISION.resnet18().eval()
    insert_attention(net, "csm", start="module", spatial="pooled")
    block, x = net.layer2[0], torch.randn(2, 64, 8, 8)
    with torch.inference_mode():
        branch = nn.functional.conv2d(x, block.conv1.weight, stride=2, padding=1)
        branch = block.conv2(torch.relu(block.bn1(branch)))
        normalised = nn.functional.batch_norm(
            branch, block.bn2.running_mean, block.bn2.running_var, block.bn2.weight, block.bn2.bias
        )
        expected = torch.relu(block.bn2.attention(normalised) + block.downsample(x))
        torch.testing.assert_close(block(x), expected)


def test_a_gamma_of_one_is_the_module_as_it_is():
    x = torch.randn(2, 3, 32, 32)
    outputs = []
    for start in ("identity", "module"):
        net = small_net().eval()
        torch.manual_seed(1)
        insert_attention(net, "csm", start=start)
        with torch.inference_mode():
            outputs.append(wake(net, 1.0)(x))
    torch.testing.assert_close(*outputs)


def test_a_stage_gets_one_module_after_its_last_block():
    net = VISION.resnet50().eval()
    result = insert_attention(net, "csm", where="stage", spatial="pooled", start="module")
    assert [(one.after, one.channels) for one in result.inserted] == [
        ("layer1.2", 256),
        ("layer2.3", 512),
        ("layer3.5", 1024),
        ("layer4.2", 2048),
    ]
    seen = []
    net.layer1[2].attention.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        net(torch.randn(1, 3, 32, 32))
    assert seen[0] is seen[1]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("layer?.0.bn1", [f"layer{stage}.0.bn1" for stage in (1, 2, 3, 4)]),
        ("layer1.*", ["layer1.0", "layer1.1"]),
        ("**.downsample.1", [f"layer{stage}.0.downsample.1" for stage in (2, 3, 4)]),
        (["layer4", "bn1", "layer4.1"], ["bn1", "layer4.1"]),  # in the model's order, each once
    ],
)
def test_names_and_patterns_say_where(where, found):
    result = insert_attention(VISION.resnet18(), "csm", where=where)
    assert [one.after for one in result.inserted] == found


def test_any_network_takes_attention_where_one_says():
    vgg = VISION.vgg11().eval()
    insert_attention(vgg, "csm", where="features.18", spatial="pooled")
    dense = timm.create_model("convnext_atto", pretrained=False).eval()
    names = ["stages.0", "stages.1.downsample"]
    modes = dense.stages.train().training
    result = insert_attention(dense, "csm", where=names, example=torch.zeros(1, 3, 64, 64))
    assert [one.channels for one in result.inserted] == [40, 80]
    assert modes == dense.stages.training
    assert not dense.training
    assert vgg(torch.randn(1, 3, 32, 32)).shape == (1, 1000)


def test_training_moves_the_blend_first_and_then_the_module():
    net = small_net().double().train()
    insert_attention(net, "csm")
    new = {
        name: value for name, value in net.named_parameters() if ".attention." in name or ".blend." in name
    }
    start = {name: value.detach().clone() for name, value in new.items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    x, y = torch.randn(8, 3, 64, 64, dtype=torch.float64), torch.arange(8) % 5

    def moved() -> set[str]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        return {name for name, value in new.items() if not torch.equal(value, start[name])}

    blends = {name for name in new if name.endswith("blend.gamma")}
    gammas = {name for name in new if name.endswith("spatial.gamma")}
    channels = {name for name in new if ".channel." in name}
    assert len(blends) == len(gammas) == 5
    assert moved() == blends
    assert moved() == blends | gammas | channels
    assert moved() | {name for name in new if name.endswith("key.bias")} == set(new)  # the softmax ignores it


def test_a_norm_that_starts_at_zero_delays_the_blend_by_a_step():
    net = timm.create_model("resnet18", pretrained=False, num_classes=5).train()
    assert not net.layer1[0].bn2.weight.any()  # timm's default
    insert_attention(net, "csm", spatial="pooled")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
        optimizer.step()
    assert all(net.get_submodule(f"layer{i}.0.bn2.blend").gamma != 0 for i in (1, 2, 3, 4))


@pytest.mark.parametrize("name", sorted(ATTENTION))
def test_every_attention_starts_as_the_identity_and_can_all_be_trained(name):
    net = small_net().eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        before = net(x)
    insert_attention(net, name)
    with torch.inference_mode():
        torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    out = wake(net)(x)
    assert out.shape == before.shape
    out.square().sum().backward()
    if name != "none":
        assert not torch.equal(out.detach(), before)
    assert all(
        p.grad is not None for key, p in net.named_parameters() if ".attention." in key or "blend" in key
    )


def test_the_blocks_of_a_stage_share_one_gate():
    net, x = VISION.resnet50().eval(), torch.randn(2, 3, 64, 64)
    keys = set(net.state_dict())
    result = insert_attention(net, "shared", start="module")
    assert (
        result.num_after == result.num_before + 696_320
    )  # as counted for the paper: four gates, not sixteen
    assert keys <= set(net.state_dict())
    with attention_maps(net) as maps, torch.inference_mode():
        net(x)
    assert list(maps) == [f"layer{stage}.0.bn3.attention" for stage in (1, 2, 3, 4)]
    assert insert_attention(VISION.resnet50(), "shared").num_after == result.num_after + 16
    with pytest.raises(ValueError, match="where must be 'block', got 'stage'"):
        insert_attention(VISION.resnet18(), "shared", where="stage")


def test_a_gate_is_shared_among_blocks_alone():
    net = small_net()
    net.layer3.append(nn.Dropout())
    with pytest.raises(ValueError, match="'layer3' is a Sequential of 2 modules, 1 such block"):
        insert_attention(net, "shared")
    assert type(net.layer1) is nn.Sequential


def test_a_reduction_that_fits_the_first_stage_alone_changes_none():
    blocks = timm.models.resnet.BasicBlock
    net = timm.models.resnet.ResNet(blocks, [1, 1, 1, 1], num_classes=5, channels=(24, 56, 112, 224))
    with pytest.raises(ValueError, match=r"reduction must divide channels \(56\), got 12"):
        insert_attention(net, "shared", reduction=12)
    assert len(insert_attention(net, "shared", reduction=8).inserted) == 4


def test_what_is_the_identity_already_gets_no_gamma():
    assert insert_attention(small_net(), "none").num_after == num_parameters(small_net())


def test_the_report_reads_as_a_table():
    text = str(insert_attention(VISION.resnet50(), "csm", spatial="pooled")).splitlines()
    assert text[0] == "csm in 16 places of ResNet: 25,557,032 -> 28,073,560 parameters (+9.85%)"
    assert text[1].split() == ["after", "layer1.*.bn3", "3", "x", "256", "channels", "+24,873"]
    assert len(text) == 5
    one = str(insert_attention(VISION.resnet18(), "csm", where="layer4.1"))
    assert "in 1 place of" in one
    assert "after layer4.1 " in one


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("csn", {}, "there is no attention 'csn'; did you mean 'csm'?"),
        ("csm", {"reducton": 8}, "'csm' has no option 'reducton'; it has .*reduction"),
        ("csm", {"start": "zero"}, "start must be 'identity' or 'module', got 'zero'"),
        ("csm", {"where": "layer5"}, "no module of ResNet matches 'layer5'.*it has .*layer4"),
        ("csm", {"where": "*.bn2"}, r"'\*' stays within one name"),
        ("csm", {"where": []}, "where names no module"),
        ("csm", {"where": "layer1.0.relu"}, r"cannot be inferred from it; pass an input .*example="),
        (
            "csm",
            {"where": "fc", "example": torch.zeros(1, 3, 32, 32)},
            r"'fc' must give one picture .*\(1, 1000\)",
        ),
        ("csm", {"where": ["bn1", "layer3.0.bn2"], "reduction": 0}, "reduction"),
        ("csm", {"where": nn.Sequential(nn.ReLU())}, r"names of modules, .*, got a Sequential; model\.named"),
        ("csm", {"where": [nn.ReLU()]}, "names of modules, .*, got a ReLU;"),
        ("csm", {"where": None}, "where must be 'block', 'stage', .*, got None;"),
        ("csm", {"example": (1, 3, 64, 64)}, r"got a shape: pass torch.zeros\(1, 3, 64, 64\)"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(name, options, said):
    net = VISION.resnet18()
    keys, text = list(net.state_dict()), repr(net)
    with pytest.raises(ValueError, match=said):
        insert_attention(net, name, **options)
    assert list(net.state_dict()) == keys
    assert repr(net) == text


def test_a_module_that_runs_with_several_widths_is_no_place():
    net = VISION.resnet50()
    with pytest.raises(ValueError, match=r"'layer1.0.relu' runs 3 times with 64, 64, 256 channels"):
        insert_attention(net, "csm", where="layer1.0.relu", example=torch.zeros(1, 3, 32, 32))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_networks_without_blocks_say_what_they_have():
    with pytest.raises(
        ValueError, match=r"VGG has no residual block .*it has features, .* where='features.18'"
    ):
        insert_attention(VISION.vgg11(), "csm")
    pre_activation = timm.create_model("resnetv2_18", pretrained=False)
    with pytest.raises(ValueError, match="has no residual block"):
        insert_attention(pre_activation, "csm")
    with pytest.raises(ValueError, match="'head' is a ModuleList, which has no output"):
        insert_attention(nn.ModuleDict({"head": nn.ModuleList()}), "csm", where="head")


def test_one_place_takes_one_attention():
    net = small_net()
    insert_attention(net, "csm")
    with pytest.raises(ValueError, match=r"'layer1.0.bn2' has a module 'attention' already"):
        insert_attention(net, "csm")
    assert len(insert_attention(net, "csm", where="stage").inserted) == 4


@pytest.mark.parametrize(
    ("name", "where"),
    [
        *((name, "block") for name in ATTENTION),
        *((name, "stage") for name in sorted({*ATTENTION} - {"shared"})),
    ],
)
def test_our_own_networks_take_attention_too(name, where):
    net, x = build_resnet("resnet20", num_classes=5).eval(), torch.randn(2, 3, 32, 32)
    keys = set(net.state_dict())
    with torch.inference_mode():
        before = net(x)
        result = insert_attention(net, name, where=where)
        torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    assert len(result.inserted) == (9 if where == "block" else 3)
    assert keys <= set(net.state_dict())
    if name != "none":
        with pytest.raises(ValueError, match="one place takes one attention"):
            insert_attention(net, name, where=where)


def test_attention_behind_our_own_block_follows_its_sum():
    net = build_resnet("resnet20", num_classes=5).eval()
    insert_attention(net, "se", where="stage", start="module")
    block, x = net.layer1[2], torch.randn(2, 16, 8, 8)
    with torch.inference_mode():
        added = torch.relu(block.branch(x) + x)
        torch.testing.assert_close(block(x), block.attention_behind(added))
    with attention_maps(net) as maps, torch.inference_mode():
        net(torch.randn(1, 3, 32, 32))
    assert list(maps) == [f"layer{stage}.2.attention_behind" for stage in (1, 2, 3)]


def test_what_is_no_module_is_refused():
    with pytest.raises(ValueError, match=r"model must be a torch\.nn\.Module, got 'resnet18'; build it"):
        insert_attention("resnet18", "se")


def test_models_with_inserted_attention_export_and_compiled_ones_are_refused():
    net = wake_inserted()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        exported = torch.export.export(net, (x,))
        torch.testing.assert_close(exported.module()(x), net(x))
    assert set(exported.state_dict) == set(net.state_dict())
    with pytest.raises(ValueError, match=r"insert first, then torch\.compile"):
        insert_attention(torch.compile(net), "csm", where="stage")


@pytest.mark.slow  # half a minute of compiling
def test_models_with_inserted_attention_compile():
    net, x = wake_inserted(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        compiled = torch.compile(net, fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


def wake_inserted(**options: str) -> nn.Module:
    net = small_net().eval()
    insert_attention(net, "csm", **options)
    return wake(net)


def test_copies_and_replicas_use_their_own_modules():
    net, x = wake_inserted(), torch.randn(2, 3, 32, 32)
    stored = io.BytesIO()
    torch.save(net.state_dict(), stored)
    with torch.inference_mode():
        expected = net(x)
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(other(x), expected)
            other.layer1[0].bn2.attention.channel.expand.weight.mul_(9)
            assert not torch.equal(other(x), expected)
            assert torch.equal(net(x), expected)
    replica = net.layer1[0].bn2._replicate_for_data_parallel()
    replica._parameters, replica._buffers = net.layer1[0].bn2._parameters, net.layer1[0].bn2._buffers
    replica._modules = {**replica._modules, "attention": nn.ReLU()}
    features = torch.randn(2, 8, 4, 4)
    with torch.inference_mode():
        assert not torch.equal(replica(features), net.layer1[0].bn2(features))
    fresh = wake_inserted()
    fresh.load_state_dict(torch.load(io.BytesIO(stored.getvalue())), strict=True)
    with torch.inference_mode():
        assert torch.equal(fresh(x), expected)


def test_threads_do_not_disturb_each_other():
    net = wake_inserted()
    batches = torch.randn(16, 2, 3, 32, 32)

    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return net(batch)

    alone = [run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_takes_the_type_the_mode_and_the_layout_of_its_place(dtype):
    net = small_net().to(dtype, memory_format=torch.channels_last).eval()
    insert_attention(net, "csm")
    x = torch.randn(2, 3, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}
    assert not any(module.training for module in net.modules())
    assert wake(net)(x).dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16), attention_maps(net) as maps:
        wake_inserted()(x.float())
        net.float()(x.float())
    assert len(maps) >= 5
