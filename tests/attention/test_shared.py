"""One squeeze-excitation per stage: shared by its blocks within one pass, and by nothing else."""

import copy
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet50

from spl.attention.maps import attention_maps
from spl.attention.shared import SharedGate, SharedSE, SharedStage, share_attention


class Block(nn.Module):
    """A residual block like the foreign ones: it knows of its norm alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


def shared_stage(channels: int = 8, num_blocks: int = 3) -> nn.Sequential:
    stage = nn.Sequential(*(Block(channels) for _ in range(num_blocks)))
    for block, attention in zip(stage, share_attention(stage, channels, reduction=2), strict=True):
        block.norm = nn.Sequential(block.norm, attention)
    return stage.eval()


def by_hand(stage: nn.Sequential, x: Tensor) -> Tensor:
    """The stage written out: one gate, from the first block's norm, times every block's norm."""
    gate = None
    for block in stage:
        normed = block.norm[0](block.conv(x))
        if gate is None:
            gate = block.norm[1].gate(normed)
        x = torch.relu(normed * gate + x)
    return x


def picture(seed: int = 0, batch: int = 2) -> Tensor:
    return torch.randn(batch, 8, 5, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _same_weights_and_nothing_left_open() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    with pytest.raises(RuntimeError, match="run the stage as a whole"):
        SharedGate()(picture())


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_gate_by_hand() -> None:
    se = SharedSE(2, reduction=1).double()
    with torch.no_grad():
        se.reduce.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        se.expand.weight.copy_(torch.tensor([[1.0, 5.0], [-2.0, 5.0]]))
    x = torch.tensor([[0.0, 2.0], [3.0, 5.0]], dtype=torch.float64).reshape(1, 2, 1, 2)  # means 1 and 4
    gate = torch.sigmoid(torch.tensor([1.0, -2.0], dtype=torch.float64)).reshape(1, 2, 1, 1)
    torch.testing.assert_close(se.gate(x), gate)
    torch.testing.assert_close(se(x), x * gate)  # alone: a plain squeeze-excitation


def test_options_and_their_limits() -> None:
    assert count(SharedSE(64)) == 512
    assert count(SharedSE(64, reduction=8, bias=True)) == 1_024 + 64 + 8
    assert count(SharedSE(4)) == 8  # fewer channels than 16: one hidden unit
    for reduction in (16, 3, 0, -2):
        with pytest.raises(ValueError, match=rf"reduction must divide channels \(8\), got {reduction}"):
            SharedSE(8, reduction=reduction)


def test_every_block_uses_the_gate_of_the_first() -> None:
    stage = shared_stage()
    with attention_maps(stage) as maps:
        out = stage(picture())
    torch.testing.assert_close(out, by_hand(stage, picture()))
    first, second = stage[0].norm, stage[1].norm
    torch.testing.assert_close(maps["0.norm.1"], first[1].gate(first[0](stage[0].conv(picture()))))
    seen: list[Tensor] = []
    second[1].register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))
    stage(picture())
    torch.testing.assert_close(seen[1], seen[0] * maps["0.norm.1"])


def test_nothing_leaks_from_batch_to_batch() -> None:
    stage, fresh = shared_stage(), [shared_stage() for _ in range(2)]
    for seed, net in enumerate(fresh):
        net.load_state_dict(stage.state_dict())
        assert torch.equal(stage(picture(seed, batch=seed + 1)), net(picture(seed, batch=seed + 1)))
    assert not torch.equal(stage(picture(0)), stage(picture(1)))


def test_a_block_alone_is_refused_instead_of_weighed_by_an_old_gate() -> None:
    stage = shared_stage()
    stage(picture())
    with pytest.raises(RuntimeError, match="first block has not run in this pass"):
        stage[1](picture())
    with pytest.raises(RuntimeError, match="first block has not run in this pass"):
        stage[1:](picture())


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_exception_in_a_pass_ends_it(failure: type[BaseException]) -> None:
    stage = shared_stage()
    expected = stage(picture())

    def fail(module: nn.Module, inputs: tuple[Tensor]) -> None:
        raise failure

    handle = stage[2].register_forward_pre_hook(fail)
    with pytest.raises(failure):
        stage(picture())
    with pytest.raises(RuntimeError, match="run the stage as a whole"):
        stage[1](picture())
    handle.remove()
    assert torch.equal(stage(picture()), expected)


def test_stages_within_stages_keep_their_own_gates() -> None:
    inner = shared_stage()
    outer = nn.Sequential(Block(8), nn.Sequential(inner, Block(8)), Block(8))
    modules = share_attention(outer, 8, reduction=2)
    for block, attention in zip((outer[0], outer[1][1], outer[2]), modules, strict=True):
        block.norm = nn.Sequential(block.norm, attention)
    outer.eval()
    gate = None
    x = picture()
    for block in (outer[0], inner, outer[1][1], outer[2]):
        if block is inner:
            x = by_hand(inner, x)
            continue
        normed = block.norm[0](block.conv(x))
        gate = block.norm[1].gate(normed) if gate is None else gate
        x = torch.relu(normed * gate + x)
    torch.testing.assert_close(outer(picture()), x)


def test_threads_that_run_one_stage_at_once_do_not_meet() -> None:
    stage = shared_stage()
    pictures = [picture(seed) for seed in range(4)]
    expected = [stage(x) for x in pictures]
    together = threading.Barrier(4, timeout=30)

    def wait(module: nn.Module, inputs: tuple[Tensor]) -> None:
        together.wait()  # until every thread has its gate and none has used it

    stage[1].register_forward_pre_hook(wait)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(stage, pictures))
    assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_stage_recomputed_in_the_backward_pass_gives_the_same_gradients(use_reentrant: bool) -> None:
    stage = shared_stage()
    x = picture().requires_grad_()
    stage(x).square().sum().backward()
    expected = [x.grad, *(parameter.grad for parameter in stage.parameters())]
    x.grad = None
    stage.zero_grad()
    checkpoint(stage, x, use_reentrant=use_reentrant).square().sum().backward()
    for one, two in zip(expected, [x.grad, *(p.grad for p in stage.parameters())], strict=True):
        torch.testing.assert_close(one, two)


def test_compiled_and_exported_stages_agree() -> None:
    stage = shared_stage()
    with torch.no_grad():
        expected = stage(picture())
        compiled = torch.compile(stage, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(picture()), expected)
        torch.testing.assert_close(compiled(picture(1)), stage(picture(1)))
        exported = torch.export.export(stage, (picture(),)).module()
        torch.testing.assert_close(exported(picture(1)), stage(picture(1)))


def test_a_copy_shares_among_its_own_blocks() -> None:
    stage = shared_stage()
    file = io.BytesIO()
    torch.save(stage, file)
    file.seek(0)
    for twin in (copy.deepcopy(stage), torch.load(file, weights_only=False)):
        assert torch.equal(twin(picture()), stage(picture()))
        nn.init.zeros_(twin[0].norm[1].expand.weight)  # every gate becomes one half
        assert not torch.equal(twin(picture()), stage(picture()))
        torch.testing.assert_close(twin(picture()), by_hand(twin, picture()))


def test_the_stage_changes_in_place_and_keeps_its_keys() -> None:
    stage = nn.Sequential(Block(8), Block(8))
    before, seen = set(stage.state_dict()), []
    stage.register_forward_hook(lambda module, inputs, output: seen.append(output))
    modules = share_attention(stage, 8)
    assert isinstance(stage, SharedStage)
    assert set(stage.state_dict()) == before
    assert [type(module) for module in modules] == [SharedSE, SharedGate]
    stage(picture())
    assert len(seen) == 1


def test_what_is_no_plain_sequence_of_blocks_is_refused() -> None:
    for stage in (shared_stage(), nn.Sequential(), nn.ModuleList([Block(8)]), Block(8)):
        with pytest.raises(ValueError, match=r"stage must be an nn\.Sequential of at least one block"):
            share_attention(stage, 8)


@pytest.mark.parametrize(("bias", "added"), [(False, 696_320), (True, 700_400)])
def test_resnet50_of_the_paper(bias: bool, added: int) -> None:
    net = resnet50()
    assert count(net) == 25_557_032
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        modules = share_attention(stage, stage[0].bn3.num_features, bias=bias)
        for block, attention in zip(stage, modules, strict=True):
            block.bn3 = nn.Sequential(block.bn3, attention)
    assert count(net) == 25_557_032 + added
    modules = [module for module in net.modules() if isinstance(module, SharedSE)]
    assert len(modules) == 4
    assert sum(".expand.weight" in key for key in net.state_dict()) == 4
    calls: list[SharedSE] = []
    for module in modules:
        module.map.register_forward_hook(lambda tap, inputs, output: calls.append(output.shape[1]))
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 1000)
    assert calls == [256, 512, 1024, 2048]


def test_gradient_of_the_gate_comes_from_later_blocks_too() -> None:
    stage = shared_stage()
    se = stage[0].norm[1]
    stage[2].norm[1].register_forward_pre_hook(lambda module, inputs: (inputs[0].detach(),))
    weighed: list[Tensor] = []
    stage[2].norm[1].register_forward_hook(lambda module, inputs, output: weighed.append(output))
    stage(picture())
    weighed[0].square().sum().backward()  # all ways but the gate are cut
    assert se.reduce.weight.grad.abs().max() > 0
    assert se.expand.weight.grad.abs().max() > 0
    assert stage[2].conv.weight.grad is None
