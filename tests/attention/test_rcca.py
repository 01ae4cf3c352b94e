"""Criss-cross attention: equal to full attention masked to rows and columns, and as large as CCNet's."""

import pytest
import torch
from torch import Tensor, nn

from spl.attention.maps import attention_maps
from spl.attention.rcca import RCCA, CrissCrossAttention, RCCAHead


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def set_gamma(module: nn.Module, value: float) -> None:
    for layer in module.modules():
        if isinstance(layer, CrissCrossAttention):
            nn.init.constant_(layer.gamma, value)


def naive(layer: CrissCrossAttention, x: Tensor) -> Tensor:
    """Attention among all positions, of which those outside of row and column are struck out."""
    B, C, H, W = x.shape
    query, key, value = (conv(x).flatten(2) for conv in (layer.query, layer.key, layer.value))
    rows = torch.arange(H).repeat_interleave(W)
    columns = torch.arange(W).repeat(H)
    is_cross = (rows[:, None] == rows) | (columns[:, None] == columns)  # (H W, H W)
    assert (is_cross.sum(1) == H + W - 1).all()
    scores = (query.transpose(1, 2) @ key).masked_fill(~is_cross, -torch.inf)  # (B, of, from)
    gathered = value @ torch.softmax(scores, dim=2).transpose(1, 2)
    return x + layer.gamma * gathered.reshape(B, C, H, W)


@pytest.mark.parametrize("size", [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1), (1, 1)])
def test_equals_full_attention_masked_to_the_cross(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = CrissCrossAttention(16).double()
    set_gamma(layer, 0.7)
    with torch.no_grad():
        layer.query.weight.mul_(10)  # far from uniform
    x = torch.randn(2, 16, *size, dtype=torch.float64, requires_grad=True)
    out, expected = layer(x), naive(layer, x)
    torch.testing.assert_close(out, expected)
    found = torch.autograd.grad(out.square().sum(), (x, *layer.parameters()))
    wanted = torch.autograd.grad(expected.square().sum(), (x, *layer.parameters()))
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two)


def test_equal_scores_give_the_mean_of_row_and_column_by_hand() -> None:
    layer = CrissCrossAttention(1).double()
    for conv, weight in ((layer.query, 0.0), (layer.key, 1.0), (layer.value, 1.0)):
        nn.init.constant_(conv.weight, weight)
        nn.init.zeros_(conv.bias)
    set_gamma(layer, 1.0)
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)[None, None]
    # Of the first: 1 2 3 and 4, itself once.
    gathered = torch.tensor([[10.0, 11.0, 12.0], [16.0, 17.0, 18.0]], dtype=torch.float64) / 4
    torch.testing.assert_close(layer(x), x + gathered)


def test_the_map_sums_to_one_and_leaves_itself_out_of_its_column() -> None:
    torch.manual_seed(0)
    layer = CrissCrossAttention(16)
    with attention_maps(nn.Sequential(layer)) as maps:
        layer(torch.randn(2, 16, 5, 3))
    weights = maps["0"]
    assert weights.shape == (2, 5, 3, 5 + 3)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, 5, 3))
    rows = torch.arange(5)
    assert (weights[:, rows, :, rows] == 0).all()
    assert (weights[..., 5:] > 0).all()


def test_starts_as_the_identity_and_hears_of_everything_after_two_rounds() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    for recurrence, reach in ((1, 4 + 5 - 1), (2, 4 * 5)):
        module = RCCA(8, recurrence=recurrence).double()
        assert torch.equal(module(x), x)
        set_gamma(module, 1.0)
        (grad,) = torch.autograd.grad(module(x)[0, :, 1, 2].sum(), x)
        assert int((grad.abs().amax(dim=1) > 0).sum()) == reach


def test_rounds_share_their_weights_or_do_not() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 3)
    shared, own = RCCA(16, recurrence=3), RCCA(16, recurrence=3, is_shared=False)
    for module in (shared, own):
        set_gamma(module, 0.5)
    (layer,) = shared.rounds
    torch.testing.assert_close(shared(x), layer(layer(layer(x))))
    first, second, third = own.rounds
    torch.testing.assert_close(own(x), third(second(first(x))))
    assert count(own) == 3 * count(shared)


def test_gradients_agree_with_differences() -> None:
    torch.manual_seed(0)
    module = RCCA(4, reduction=2).double()
    set_gamma(module, 0.5)
    x = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


def test_gradient_reaches_every_parameter_of_the_head() -> None:
    torch.manual_seed(0)
    head = RCCAHead(64, is_shared=False)
    set_gamma(head, 0.5)
    head(torch.randn(2, 64, 5, 4)).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(
            "key.bias"
        ):  # adds the same to all scores of a query, which the softmax takes away
            assert parameter.grad.abs().max() > 1e-9, name


def test_head_joins_its_input_and_what_it_attended() -> None:
    torch.manual_seed(0)
    head = RCCAHead(16).eval()
    set_gamma(head, 0.5)
    x = torch.randn(2, 16, 5, 4)
    attended = head.after(naive(head.attention.rounds[0], naive(head.attention.rounds[0], head.before(x))))
    conv, norm, _ = head.bottleneck
    scores = norm(conv(torch.cat((x, attended), dim=1)))
    out = head(x)
    assert out.shape == (2, 4, 5, 4)
    torch.testing.assert_close(out, torch.where(scores > 0, scores, 0.01 * scores))


def test_parameter_counts_of_the_paper() -> None:
    assert count(RCCA(64)) == 2 * (64 * 8 + 8) + 64 * 64 + 64 + 1
    assert count(RCCA(64, reduction=4)) == 2 * (64 * 16 + 16) + 64 * 64 + 64 + 1
    assert count(RCCAHead(64)) == 23_477  # ResNet-20
    assert count(RCCAHead(64, is_shared=False)) == 23_818
    assert count(RCCAHead(512, is_shared=False)) == 12_519_298 - 11_002_688  # ResNet-18


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="recurrence must be at least 1 round, got 0"):
        RCCA(8, recurrence=0)
    for reduction in (16, 3, 0):
        with pytest.raises(ValueError, match=rf"reduction must divide channels \(8\), got {reduction}"):
            RCCA(8, reduction=reduction)
    with pytest.raises(ValueError, match=r"channels must be a multiple of 4, .* got 6"):
        RCCAHead(6)
    assert count(RCCA(4)) == 2 * 5 + 20 + 1  # fewer channels than the reduction: one is left
