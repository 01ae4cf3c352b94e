"""The contract of every attention module in the table: it can stand anywhere in a net, in any precision."""

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from spl.attention import ATTENTION, attention_maps

LOOKED_AT = [name for name in ATTENTION if name != "none"]


def build(name: str, channels: int = 64) -> nn.Module:
    """Return a module whose every parameter matters: what starts at zero would hide the rest."""
    torch.manual_seed(0)
    module = ATTENTION[name](channels)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.constant_(parameter, 0.3)
    return module


def picture(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ATTENTION)
def test_keeps_the_shape_and_passes_the_gradient(name: str) -> None:
    module = ATTENTION[name](64)
    x = picture(2, 64, 7, 7).requires_grad_()
    out = module(x)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    out.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("name", ATTENTION)
def test_evaluates_each_sample_alone_and_always_alike(name: str) -> None:
    module, x = build(name).eval(), picture(2, 64, 7, 7)
    with torch.inference_mode():
        both, again, first = module(x), module(x), module(x[:1])
    assert both.shape == x.shape
    assert torch.equal(both, again)
    torch.testing.assert_close(both[:1], first)


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("channels", [4, 8, 16, 24, 40, 96])
def test_defaults_fit_the_widths_of_nets(name: str, channels: int) -> None:
    x = picture(2, channels, 6, 5)
    assert build(name, channels)(x).shape == x.shape


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("shape", [(0, 64, 7, 5), (2, 64, 1, 1), (0, 64, 1, 1), (1, 64, 1, 9)], ids=str)
def test_takes_an_empty_batch_and_a_single_position(name: str, shape: tuple[int, ...]) -> None:
    x = picture(*shape).requires_grad_()
    out = build(name).eval()(x)
    out.sum().backward()
    assert out.shape == x.grad.shape == shape
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("place", [(0, 0, 0), (17, 3, 2), (63, 6, 4)], ids=str)
def test_does_not_mask_nan(name: str, place: tuple[int, int, int]) -> None:
    x = picture(2, 64, 7, 5)
    x[0][place] = torch.nan
    for context in (nullcontext(), torch.no_grad()):
        with context:
            out = build(name).eval()(x)
        assert out[0][place].isnan()
        assert torch.isfinite(out[1]).all()


@pytest.mark.parametrize("name", ATTENTION)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    module = build(name, 8).double()
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        out: Tensor = functional_call(module, dict(zip(names, parameters, strict=True)), x)
        return out

    parameters = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    assert torch.autograd.gradcheck(run, (picture(2, 8, 3, 4).double().requires_grad_(), *parameters))


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_single(name: str, dtype: torch.dtype) -> None:
    module = build(name).to(dtype)
    x = picture(2, 64, 7, 7).to(dtype).requires_grad_()
    y = x.detach().float().requires_grad_()
    out, expected = module(x), copy.deepcopy(module).float()(y)
    assert out.dtype == dtype
    out.square().sum().backward()
    expected.square().sum().backward()
    for half, single in ((out, expected), (x.grad, y.grad)):  # a maximum may lie elsewhere: not each value
        far = (half.float() - single).abs() > 0.03 + 0.03 * single.abs()
        assert far.float().mean() < 0.03


@pytest.mark.parametrize("name", ATTENTION)
def test_autocast_is_near_single(name: str) -> None:
    module, x = build(name).eval(), picture(2, 64, 7, 7).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x)
    out.float().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert ((out - module(x)).abs() > 0.05 + 0.05 * out.abs()).float().mean() < 0.03


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_in_memory_stays_and_changes_no_number(name: str, layout: torch.memory_format) -> None:
    module, x = build(name), picture(2, 64, 7, 5)
    expected = module(x)
    out = module(x.contiguous(memory_format=layout))
    assert out.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out, expected)


def check_compiled(module: nn.Module, backend: str) -> None:
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    x = picture(2, 64, 7, 7).requires_grad_()
    y = x.detach().clone().requires_grad_()
    one, two = compiled(x), module(y)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    one.square().sum().backward()
    two.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ATTENTION)
def test_can_be_traced_for_the_compiler_without_a_break(name: str) -> None:
    check_compiled(build(name), "aot_eager")


@pytest.mark.slow  # some seconds of compiling for each
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ATTENTION)
def test_compiled_numbers_are_the_same(name: str) -> None:
    check_compiled(build(name), "inductor")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ATTENTION)
def test_can_be_exported_for_any_batch_and_size(name: str) -> None:
    module, x = build(name).eval(), picture(2, 64, 7, 5)
    free = {0: torch.export.Dim("B"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
    exported = torch.export.export(module, (x,), dynamic_shapes=(free,)).module()
    for other in (x, picture(3, 64, 6, 9)):
        torch.testing.assert_close(exported(other), module(other))


@pytest.mark.parametrize("name", ATTENTION)
def test_can_be_called_from_many_threads(name: str) -> None:
    module = build(name).eval()
    pictures = [picture(2, 64, 5 + number, 6) for number in range(8)]
    expected = [module(x) for x in pictures]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            for one, two in zip(threads.map(module, pictures), expected, strict=True):
                torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", LOOKED_AT)
def test_copies_train_apart_in_threads(name: str) -> None:
    module = build(name)

    def gradients(replica: nn.Module, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        replica(x).square().sum().backward()
        return [x.grad, *(parameter.grad for parameter in replica.parameters())]

    pictures = [picture(2, 64, 5 + number, 6) for number in range(4)]
    expected = [gradients(copy.deepcopy(module), x) for x in pictures]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(gradients, [copy.deepcopy(module) for _ in pictures], pictures))
    torch.testing.assert_close(found, expected)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("name", ATTENTION)
def test_saved_weights_give_the_same_numbers(name: str) -> None:
    module, x = build(name).eval(), picture(2, 64, 7, 5)
    torch.manual_seed(9)
    fresh = ATTENTION[name](64).eval()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x), module(x))
    assert torch.equal(copy.deepcopy(module)(x), module(x))


@pytest.mark.parametrize("name", LOOKED_AT)
def test_maps_are_looked_at_while_they_are_computed(name: str) -> None:
    module, x = build(name).eval(), picture(2, 64, 7, 5)
    unseen = module(x)
    calls: list[nn.Module] = []
    for part in module.modules():
        part.register_forward_pre_hook(lambda part, inputs: calls.append(part))
    with attention_maps(module) as maps:
        seen = module(x)
    assert maps
    assert calls.count(module) == 1  # no second forward
    torch.testing.assert_close(seen, unseen)
    for key, attention in maps.items():
        module.get_submodule(key)  # raises where there is none
        assert attention.shape[0] == 2
        assert torch.isfinite(attention).all()
        assert not attention.requires_grad
    assert not any(part._forward_hooks for part in module.modules())


def test_maps_have_the_shapes_that_are_told() -> None:
    expected = {
        "se": {"": (2, 64, 1, 1)},
        "eca": {"": (2, 64, 1, 1)},
        "cam": {"": (2, 64, 1, 1)},
        "sam": {"": (2, 35, 35)},
        "cbam": {"channel": (2, 64, 1, 1), "spatial": (2, 1, 7, 5)},
        "csm": {"channel": (2, 64, 1, 1), "spatial": (2, 35, 35)},
    }
    for name, shapes in expected.items():
        module = build(name)
        with attention_maps(module) as maps:
            module(picture(2, 64, 7, 5))
        assert {key: tuple(attention.shape) for key, attention in maps.items()} == shapes


def test_nothing_to_look_at_is_told() -> None:
    with pytest.raises(ValueError, match="has no attention module"), attention_maps(ATTENTION["none"](64)):
        pass


def test_names_differ_in_what_they_build() -> None:
    counts = {name: sum(p.numel() for p in make(64).parameters()) for name, make in ATTENTION.items()}
    assert counts["none"] == 0
    assert counts["cam"] == counts["se"] == 512
    assert counts["eca"] == 3
    assert counts["cbam"] == 512 + 98
    assert counts["sam"] == 3 * (64**2 + 64) + 1
    assert counts["csm"] == counts["cam"] + counts["sam"]


@pytest.mark.parametrize("name", ATTENTION)
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="reductoin"):
        ATTENTION[name](64, reductoin=8)


def test_maps_of_parts_of_a_batch_are_refused() -> None:
    net = nn.DataParallel(nn.Sequential(ATTENTION["se"](16)))
    for model in (net, nn.Sequential(net)):
        with (
            pytest.raises(ValueError, match=r"DataParallel splits each batch.*\.module"),
            attention_maps(model),
        ):
            pass
    with attention_maps(net.module) as maps:
        net.module(picture(2, 16, 3, 3))
    assert list(maps) == ["0"]
