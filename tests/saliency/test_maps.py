"""Maps of what a model looked at: equal to well-known implementations, to hand-worked ones, and harmless."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional

from spl.attention import ATTENTION, attention_maps
from spl.models.autoencoder import Reconstruction
from spl.models.image.resnet import ResNet, ResNetSpec, build_resnet
from spl.receptive_fields.placement import placement_of
from spl.saliency import (
    METHODS,
    advantage,
    attention_map,
    attributions,
    chosen,
    grad_cam,
    grad_cam_plus_plus,
    integrated_gradients,
    layer_cam,
    occlusion,
    predicted,
    reconstruction_error,
    score_cam,
)
from spl.saliency.layers import onto
from spl.saliency.methods import LAYERLESS

QUICK = {**METHODS, "rise": partial(METHODS["rise"], num_masks=32)}  # what holds of a few masks holds of many
OF_LAYERS = [name for name in METHODS if name not in (*LAYERLESS, "attention")]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net() -> nn.Sequential:
    """Return a net for three classes, whose batch norm has seen something and whose ReLUs write in place."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(6 * 8 * 6, 3),
    )
    model[-1].weight.data *= 20  # pytorch-grad-cam adds up to 1e-7 to what it divides by
    model(drawn(8, 3, 16, 12, seed=9))
    return model.eval()


class TwoInputs(nn.Module):
    """A frame and a spectrogram of another size, and flags, as an agent has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.eye = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU())
        self.ear = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(9, 4)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor | None = None) -> Tensor:
        seen, heard = self.eye(video).mean(dim=(2, 3)), self.ear(audio).amax(dim=(2, 3))
        if present is not None:
            seen, heard = seen * present[:, :1], heard * present[:, 1:]
        out: Tensor = self.head(torch.cat([seen, heard], dim=1))
        return out


X = drawn(4, 3, 16, 12, seed=2)
CLASSES = torch.tensor([0, 2, 1, 2])


ORACLES = [
    (grad_cam, GradCAM, [0, 3, 4]),
    (grad_cam_plus_plus, GradCAMPlusPlus, [0, 3, 4]),
    (layer_cam, LayerCAM, [0, 3, 4]),
    (score_cam, ScoreCAM, [0]),  # theirs aligns corners where a layer is smaller than the picture
]


@pytest.mark.parametrize(
    ("ours", "theirs", "number"), [(ours, theirs, one) for ours, theirs, all_ in ORACLES for one in all_]
)
def test_equals_pytorch_grad_cam(ours, theirs, number):
    model = net()
    twin = copy.deepcopy(model)
    twin[2], twin[5] = nn.ReLU(), nn.ReLU()  # theirs would see what was written into the layer's output
    with theirs(model=twin, target_layers=[twin[number]]) as oracle:
        expected = oracle(input_tensor=X, targets=[ClassifierOutputTarget(int(one)) for one in CLASSES])
    found = ours(model, str(number), X, chosen(CLASSES))
    assert found.shape == (4, 16, 12)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_equals_pytorch_grad_cam_on_a_residual_net():
    torch.manual_seed(0)
    model = build_resnet("resnet20", num_classes=10, attention="csm").eval()
    x = drawn(2, 3, 32, 32)
    with GradCAM(model=model, target_layers=[model.layer3]) as oracle:
        oracle(input_tensor=x, targets=[ClassifierOutputTarget(3)] * 2)
        features, gradients = (
            each[0].detach()
            for each in (oracle.activations_and_grads.activations, oracle.activations_and_grads.gradients)
        )
        weights = oracle.get_cam_weights(x, model.layer3, None, features.numpy(), gradients.numpy())
    # Theirs as large as the layer: it is resized evenly, and ours lies where the features are.
    raw = (torch.from_numpy(weights)[:, :, None, None] * features).sum(dim=1).relu()  # (B, h, w)
    placement = placement_of(model, model.layer3, [x])
    torch.testing.assert_close(
        grad_cam(model, "layer3", x, chosen(3)), onto(raw, x.shape[-2:], placement), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("number", [0, 4])
def test_grad_cam_equals_captum(number):
    model = net()
    raw = LayerGradCam(model, model[number]).attribute(X, target=CLASSES, relu_attributions=True)
    expected = onto(raw[:, 0].detach(), X.shape[-2:])
    torch.testing.assert_close(
        grad_cam(model, model[number], X, chosen(CLASSES)), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("has_flags", [False, True])
def test_grad_cam_of_two_inputs_equals_captum(has_flags):
    model, given = TwoInputs().eval(), (drawn(3, 2, 8, 8), drawn(3, 1, 6, 20, seed=5))
    flags = (torch.tensor([[True, True], [True, True], [True, False]]),) if has_flags else ()
    actions = torch.tensor([3, 0, 1])
    maps = grad_cam(model, ("eye", "ear"), given + flags, chosen(actions))
    for place, (one, layer, x) in enumerate(zip(maps, (model.eye, model.ear), given, strict=True)):
        expected = LayerGradCam(model, layer).attribute(
            given, target=actions, additional_forward_args=flags or None, relu_attributions=True
        )
        assert one.shape == (3, *x.shape[-2:])
        placement = placement_of(model, layer, (*given, *flags), place)
        torch.testing.assert_close(
            one, onto(expected[:, 0].detach(), x.shape[-2:], placement), atol=1e-5, rtol=0
        )
    assert not (has_flags and maps[1][2].any()), "of an absent modality nothing stands out"


def test_integrated_gradients_equal_captum():
    model = net()
    expected = IntegratedGradients(model).attribute(X.clone().requires_grad_(), target=CLASSES)
    (found,) = attributions(model, X, chosen(CLASSES))
    torch.testing.assert_close(found, expected.to(found.dtype), atol=1e-5, rtol=1e-5)
    two, given = TwoInputs().eval(), (drawn(3, 2, 8, 8), drawn(3, 1, 6, 20, seed=5))
    wanting = tuple(x.clone().requires_grad_() for x in given)
    expected = IntegratedGradients(two).attribute(wanting, target=1, baselines=(0.5, 0.5), n_steps=20)
    for one, other in zip(
        attributions(two, given, chosen(1), num_steps=20, baseline=0.5), expected, strict=True
    ):
        torch.testing.assert_close(one, other.to(one.dtype), atol=1e-5, rtol=1e-5)


def test_attributions_add_up_to_the_change_of_the_score():
    model = net()
    (found,) = attributions(model, X, chosen(1), num_steps=300)
    with torch.no_grad():
        change = model(X)[:, 1] - model(torch.zeros_like(X))[:, 1]
    torch.testing.assert_close(found.flatten(1).sum(dim=1), change, atol=0.02, rtol=0.01)


class Sum(nn.Module):
    """Two channels, twice the first less the second: every gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.conv.weight.data = torch.eye(2)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        parts = self.conv(x).sum(dim=(2, 3))  # (B, 2)
        return torch.stack([2 * parts[:, 0] - parts[:, 1], parts[:, 1]], dim=1)


F = torch.tensor([[[[1.0, 0.0], [3.0, 2.0]], [[4.0, 0.0], [2.0, 0.0]]]])  # (1, 2, 2, 2)


def test_by_hand():
    model = Sum()
    # 2 * first - second = [[-2, 0], [4, 4]]; relu, then from 0 to 1
    expected = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    torch.testing.assert_close(grad_cam(model, "conv", F, chosen(0)), expected)
    # Layer-CAM and the paper's Grad-CAM++ count the first alone: G = 2 everywhere, or 4 * 4 / (8 + 8 * 6) * 2
    first = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]]) / 3
    torch.testing.assert_close(layer_cam(model, "conv", F, chosen(0)), first)
    torch.testing.assert_close(grad_cam_plus_plus(model, "conv", F, chosen(0), epsilon=0.0), first)
    # A linear model: gradient times input, whatever the path; 2 * first - second, where positive
    torch.testing.assert_close(integrated_gradients(model, None, F, chosen(0)), expected)
    # A window of one pixel: what is hidden is lost
    torch.testing.assert_close(occlusion(model, None, F, chosen(0), share=0.5), expected)
    # Of the whole: the score falls by the same everywhere, and nothing stands out
    assert not occlusion(model, None, F, chosen(0), share=1.0).any()


def test_score_cam_by_hand():
    maps = [torch.tensor([[1.0, 0.0], [3.0, 2.0]]) / 3, torch.tensor([[4.0, 0.0], [2.0, 0.0]]) / 4]
    scores = [float((2 * F[0, 0] * one - F[0, 1] * one).sum()) for one in maps]
    weights = torch.tensor(scores).softmax(dim=0)
    raw = (weights[0] * F[0, 0] + weights[1] * F[0, 1]).relu()
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    torch.testing.assert_close(score_cam(Sum(), "conv", F, chosen(0))[0], expected)


def test_grad_cam_plus_plus_differs_between_one_place_and_many():
    """Its weights are ``G^3 / (2 G^2 + G^3 sum F)``: of a channel with a larger sum less."""
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, 0, 0], features[0, 1, :, 1] = 1.0, 4.0
    model = Sum()
    found = grad_cam_plus_plus(
        model, "conv", features, lambda out: 0.5 * out[:, 0] + 1.5 * out[:, 1], epsilon=0.0
    )
    # Both gradients are 1; alpha = 1 / (2 + 1) and 1 / (2 + 8)
    torch.testing.assert_close(found[0], torch.tensor([[1 / 3, 0.4], [0.0, 0.4]]) / 0.4)


def everything(model: nn.Module) -> dict[str, object]:
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "wants": [weight.requires_grad for weight in model.parameters()],
        "grads": [weight.grad for weight in model.parameters()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "random": torch.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for name in before:
        if name == "state":
            torch.testing.assert_close(after[name], before[name], atol=0, rtol=0)
        elif name == "random":
            assert torch.equal(after[name], before[name])
        else:
            assert after[name] == before[name], name


def attentive() -> nn.Module:
    torch.manual_seed(0)
    spec = ResNetSpec(family="cifar", depths=(1, 1, 1), width=8, stem=8)
    model = ResNet(spec, num_classes=3, attend=ATTENTION["cbam"], place="block").train()
    model.layer1.eval()
    model.fc.bias.requires_grad_(False)
    return model


def failing(outputs: Tensor) -> Tensor:
    torch.rand(1)
    raise RuntimeError("no score today")


@pytest.mark.parametrize("name", METHODS)
def test_what_is_borrowed_is_given_back(name):
    model, x = attentive(), drawn(2, 3, 16, 16).requires_grad_()
    before, kept = everything(model), x.detach().clone()
    maps = QUICK[name](model, "layer3", x, chosen(1))
    assert maps.shape == (2, 16, 16)
    assert not maps.requires_grad
    assert 0.0 <= maps.min() <= maps.max() <= 1.0
    assert_same(before, everything(model))
    assert x.grad is None
    assert torch.equal(x, kept)
    if name != "attention":
        with pytest.raises(RuntimeError, match="no score today"):
            QUICK[name](model, "layer3", x, failing)
        assert_same(before, everything(model))
    with pytest.raises(RuntimeError, match="expected input"):
        QUICK[name](model, "layer3", x[:, :2], chosen(1))
    assert_same(before, everything(model))


@pytest.mark.parametrize("name", METHODS)
def test_works_where_gradients_are_off(name):
    model, x = attentive(), drawn(2, 3, 16, 16)
    expected = QUICK[name](model, "layer3", x, chosen(1))
    with torch.inference_mode():  # stricter than torch.no_grad
        torch.testing.assert_close(QUICK[name](model, "layer3", x + 0, chosen(1)), expected)


@pytest.mark.parametrize("name", METHODS)
def test_one_image_alone_has_the_map_that_it_has_among_others(name):
    model, x, classes = attentive(), drawn(3, 3, 16, 16), torch.tensor([0, 1, 2])
    maps = QUICK[name](model, "layer3", x, chosen(classes))
    alone = QUICK[name](model, "layer3", x[1:2], chosen(classes[1:2]))
    torch.testing.assert_close(alone, maps[1:2], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", OF_LAYERS)
def test_a_layer_that_gives_zeros_gives_a_map_of_zeros(name):
    model = net()
    model[0].weight.data.zero_()
    model[0].bias.data.fill_(-1.0)
    model[1] = nn.Identity()
    maps = METHODS[name](model, "2", X, chosen(0))
    assert torch.equal(maps, torch.zeros(4, 16, 12))


@pytest.mark.parametrize("value", [0.0, 0.7, 1e6])
def test_an_even_map_is_zeros_and_not_its_rounding(value):
    assert not onto(torch.full((2, 3, 3), value), (16, 12)).any()


def test_a_map_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        onto(torch.tensor([[[0.0, torch.nan]]]), (4, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        grad_cam(net(), "4", torch.full((1, 3, 16, 12), torch.inf), chosen(0))


@pytest.mark.parametrize("name", OF_LAYERS)
def test_two_inputs_one_call(name):
    model, given = TwoInputs(), (drawn(3, 2, 8, 8), drawn(3, 1, 6, 20), torch.ones(3, 2, dtype=torch.bool))
    video, audio = METHODS[name](model, ("eye", "ear"), given, chosen(2))
    assert (video.shape, audio.shape) == ((3, 8, 8), (3, 6, 20))
    nothing, again = METHODS[name](model, (None, "ear"), given, chosen(2))
    assert nothing is None
    torch.testing.assert_close(again, audio)


def test_two_inputs_without_layers():
    model, given = TwoInputs(), (drawn(3, 2, 8, 8), drawn(3, 1, 6, 20), torch.ones(3, 2, dtype=torch.bool))
    for method in (integrated_gradients, occlusion):
        video, audio = method(model, None, given, chosen(2))
        assert (video.shape, audio.shape) == ((3, 8, 8), (3, 6, 20))
        assert video.any()
        assert audio.any()


def test_bytes_stay_bytes_but_for_integrated_gradients():
    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == torch.uint8
            out: Tensor = self.conv(x.float() / 255).amax(dim=(2, 3))
            return out

    torch.manual_seed(0)
    x = torch.randint(0, 256, (2, 1, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for method in (grad_cam, score_cam, occlusion):
        assert method(Bytes(), "conv", x, chosen(0)).any()
    with pytest.raises(ValueError, match=r"need floats, got torch\.uint8"):
        integrated_gradients(Bytes(), None, x, chosen(0))


def test_scores():
    outputs = torch.tensor([[1.0, 2.0, 6.0], [0.0, 3.0, 0.0]])
    assert chosen(torch.tensor([2, 0]))(outputs).tolist() == [6.0, 0.0]
    assert chosen(1)(outputs).tolist() == [2.0, 3.0]
    assert advantage(torch.tensor([2, 1]))(outputs).tolist() == [3.0, 2.0]
    made = Reconstruction(torch.ones(2, 1, 1, 2, 2), torch.zeros(2, 1, 1, 2, 2), outputs)
    target = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1, 1).expand(2, 1, 1, 2, 2)
    assert reconstruction_error(target, "video")(made).tolist() == [0.0, 4.0]
    assert reconstruction_error(target, "audio")(made).tolist() == [1.0, 9.0]
    with torch.no_grad():
        assert torch.equal(predicted(net(), X), net()(X).argmax(dim=1))


def test_maps_of_a_q_value_an_advantage_and_a_reconstruction():
    model, x = net(), X
    by_value, by_advantage = (grad_cam(model, "4", x, score(2)) for score in (chosen, advantage))
    assert not torch.equal(by_value, by_advantage)

    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            self.conv.weight.data.fill_(0.5)

        def forward(self, x: Tensor) -> Reconstruction:
            return Reconstruction(self.conv(x), x, x)

    target = torch.zeros(1, 1, 2, 2)
    target[0, 0, 1, 1] = -4.0
    # d/dF mean (F - target)^2 = (F - target) / 2: mean 1 of (.5, .5, .5, 2.5); times F, which is even
    made = occlusion(
        Repeats(), None, torch.ones(1, 1, 2, 2), reconstruction_error(target, "video"), share=0.5
    )
    # Hidden is 0: errors .25, .25, .25 become 0 and 20.25 becomes 16
    torch.testing.assert_close(made[0], torch.tensor([[0.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("attention", ["cbam", "csm", "ham", "rcca", "sam"])
def test_attention_through_the_same_door(attention):
    torch.manual_seed(0)
    model = build_resnet("resnet20", num_classes=3, attention=attention).eval()
    for weight in model.parameters():
        if not weight.any():
            nn.init.constant_(weight, 0.3)
    x = drawn(2, 3, 32, 32)
    maps = attention_map(model, "", x, chosen(0))
    assert maps.shape == (2, 32, 32)
    assert maps.amax(dim=(1, 2)).tolist() == [1.0, 1.0]


def test_the_attention_of_ham_is_that_of_the_important_channels():
    torch.manual_seed(0)
    model = build_resnet("resnet20", num_classes=3, attention="ham").eval()
    with torch.no_grad():
        for number, norm in enumerate(model.layer1[2].attention.spatial.norms):
            norm.weight.fill_(2.0), norm.bias.fill_(-1.0 + 2.0 * number)
    x = drawn(1, 3, 32, 32)
    with attention_maps(model) as maps, torch.no_grad():
        model(x)
    of_block = {name.rpartition(".")[2]: one for name, one in maps.items() if name.startswith("layer1.2.")}
    found = attention_map(model, "layer1.2", x, chosen(0))
    torch.testing.assert_close(found, onto(of_block["important"][:, 0], (32, 32)))
    assert (found - onto(of_block["rest"][:, 0], (32, 32))).abs().max() > 0.05


def test_attention_is_that_of_the_layer():
    model, x = attentive().eval(), drawn(2, 3, 32, 32)
    with attention_maps(model) as maps, torch.no_grad():
        model(x)
    of_layer1 = [one for name, one in maps.items() if name.startswith("layer1.") and one.shape[1] == 1]
    assert torch.equal(attention_map(model, "layer1", x, chosen(0)), onto(of_layer1[-1][:, 0], (32, 32)))
    own = attention_map(model, model.layer1[0].attention, x, chosen(0))
    assert torch.equal(own, onto(of_layer1[0][:, 0], (32, 32)))


def test_attention_that_has_no_positions_is_told():
    model = build_resnet("resnet20", num_classes=3, attention="se")
    with pytest.raises(ValueError, match="weighs channels, not positions"):
        attention_map(model, "", drawn(2, 3, 32, 32), chosen(0))
    with pytest.raises(ValueError, match="no attention module"):
        attention_map(net(), "", X, chosen(0))
    with pytest.raises(ValueError, match="layer 'conv1' has no attention in it"):
        attention_map(attentive(), "conv1", drawn(2, 3, 32, 32), chosen(0))


@pytest.mark.parametrize("name", [*OF_LAYERS, "attention"])
def test_a_layer_that_is_not_there_is_told_with_the_nearest(name):
    model = attentive()
    with pytest.raises(ValueError, match=r"ResNet has no layer 'layer33'; did you mean 'layer3'\?"):
        METHODS[name](model, "layer33", drawn(2, 3, 32, 32), chosen(0))


@pytest.mark.parametrize("name", OF_LAYERS)
def test_bad_layers(name):
    model, method = net(), METHODS[name]
    with pytest.raises(ValueError, match=r"layer '7' must give \(B, C, H, W\), got \(4, 3\)"):
        method(model, "7", X, chosen(0))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 12, 2))
    for layer in ("1", "nothing"):
        with pytest.raises(ValueError, match="Sequential has no convolution"):
            method(flat, layer, X, chosen(0))
    with pytest.raises(ValueError, match="got a foreign Conv2d"):
        method(model, nn.Conv2d(1, 1, 1), X, chosen(0))
    with pytest.raises(ValueError, match="a layer for each of the 1 inputs"):
        method(model, None, X, chosen(0))
    with pytest.raises(ValueError, match="a layer for each of the 2 inputs"):
        method(TwoInputs(), "eye", (drawn(3, 2, 8, 8), drawn(3, 1, 6, 20)), chosen(0))
    twice = nn.Sequential(shared := nn.Conv2d(3, 3, 1), shared, nn.Flatten())
    with pytest.raises(ValueError, match="layer '0' must run once in a pass, got 2 times"):
        method(twice, "0", X, chosen(0))


@pytest.mark.parametrize("name", [*OF_LAYERS, *LAYERLESS])
def test_bad_scores(name):
    with pytest.raises(ValueError, match=r"one number per sample, \(4,\), got \(4, 3\)"):
        METHODS[name](net(), "4", X, lambda outputs: outputs)
    with pytest.raises(ValueError, match=r"the model must give \(B, K\) to choose one of K"):
        METHODS[name](nn.Sequential(nn.Conv2d(3, 1, 1), nn.Identity()), "0", X, chosen(0))
    with pytest.raises(ValueError, match=r"score must be a function .*, got 2; spl\.chosen"):
        METHODS[name](net(), "4", X, 2)


@pytest.mark.parametrize("name", ["grad-cam", "integrated-gradients"])
def test_a_score_that_depends_on_nothing_is_told(name):
    with pytest.raises(ValueError, match="the score must depend on"):
        METHODS[name](net(), "4", X, lambda outputs: torch.zeros(4))


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        occlusion(net(), None, X, chosen(0), share=0)


def test_a_compiled_model_is_looked_at_as_it_was():
    model = net()
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(
        grad_cam(compiled, "4", X, chosen(CLASSES)), grad_cam(model, "4", X, chosen(CLASSES))
    )


def planted(num: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures of noise with a patch whose colour is the class, the classes, and where it lies."""
    images = 0.3 * torch.randn(num, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 3, (num,), generator=generator)
    corners = torch.randint(0, 25, (num, 2), generator=generator)
    masks = torch.zeros(num, 32, 32, dtype=torch.bool)
    for image, label, (row, column), mask in zip(images, labels, corners.tolist(), masks, strict=True):
        image[label, row : row + 8, column : column + 8] += 2.0
        mask[row : row + 8, column : column + 8] = True
    return images, labels, masks


@pytest.fixture(scope="module")
def cue():
    """Return a small net that learned to name the patch, and images that it has not seen."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(250):
        images, labels, _ = planted(32, generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    images, labels, masks = planted(200, generator)
    assert (predicted(model, images) == labels).float().mean() > 0.95
    return model, images, labels, masks


@pytest.mark.parametrize("name", [name for name in METHODS if name != "attention"])
def test_maps_point_at_a_planted_cue(cue, name):
    model, images, labels, masks = cue
    maps = METHODS[name](model, "3", images, chosen(labels))
    points = maps.flatten(1).argmax(dim=1)
    accuracy = masks.flatten(1).gather(1, points[:, None]).float().mean()
    assert accuracy > 0.9


def test_integrated_gradients_of_a_network_in_bfloat16_are_near_those_in_float32():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(256, 3))
    x = torch.rand(2, 1, 8, 8)
    exact = integrated_gradients(network, None, x, chosen(1))
    low = integrated_gradients(network.to(torch.bfloat16), None, x.to(torch.bfloat16), chosen(1))
    assert low.dtype == torch.float32
    assert torch.corrcoef(torch.stack([exact.flatten(), low.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize(
    ("x", "options", "sentence"),
    [
        (torch.rand(2, 1, 8, 8), {"num_steps": 0}, "num_steps must be at least 1, got 0"),
        (torch.rand(0, 1, 8, 8), {}, "the input must have values, got shape"),
    ],
)
def test_integrals_of_nothing_are_refused(x, options, sentence):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match=sentence):
        integrated_gradients(network, None, x, chosen(1), **options)


@pytest.mark.parametrize("index", [9, -4, True, 0.5, [0, 1, 2]])
def test_what_is_chosen_must_be_there(index):
    with pytest.raises(ValueError, match="what is chosen must be whole numbers"):
        chosen(index)(torch.rand(2, 3))


@pytest.mark.parametrize(
    "index", [np.int64(1), [1, 1], np.array([1, 1]), torch.tensor([1, 1]), torch.tensor(1), -2]
)
def test_what_is_chosen_may_be_any_whole_numbers(index):
    outputs = torch.rand(2, 3)
    assert torch.equal(chosen(index)(outputs), outputs[:, 1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_integrated_gradients_of_other_precisions(dtype: torch.dtype):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(256, 3))
    x = torch.rand(2, 1, 8, 8)
    exact = integrated_gradients(network, None, x, chosen(1))
    found = integrated_gradients(network.to(dtype), None, x.to(dtype), chosen(1))
    torch.testing.assert_close(found.float(), exact, atol=0.02, rtol=0.0)
