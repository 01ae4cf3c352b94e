"""Weights that a network starts from: where they come from, what is taken over, and what is refused."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from spl.config.errors import UsageError
from spl.models.image.networks import build_network
from spl.models.image.weights import Weights, freeze_body, frozen_norms, read_weights, start_from


def tensors(name: str = "resnet20", num_classes: int = 3, **options: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return build_network(name, num_classes=num_classes, **options).state_dict()


def fresh(name: str = "resnet20", num_classes: int = 3, **options: object) -> nn.Module:
    torch.manual_seed(2)
    return build_network(name, num_classes=num_classes, **options)


def start(model: nn.Module, given: dict[str, torch.Tensor], *, keeps_head: bool = True) -> str:
    return start_from(model, "resnet20", Weights(given, None), keeps_head=keeps_head)


def test_all_is_taken_over_and_the_last_layer_where_it_may() -> None:
    given, model = tensors(), fresh()
    assert start(model, given) == f"{len(given)} tensors taken over, new: nothing"
    assert all(torch.equal(given[key], one) for key, one in model.state_dict().items())
    for other, keeps_head in ((fresh(), False), (fresh(num_classes=5), True)):
        before = other.fc.weight.clone()
        assert start(other, given, keeps_head=keeps_head).endswith("new: the last layer")
        assert torch.equal(other.fc.weight, before)
        assert torch.equal(other.layer3[2].conv2.weight, given["layer3.2.conv2.weight"])


def test_attention_starts_fresh_in_a_network_that_had_none() -> None:
    model = fresh(attention="se")
    before = model.layer1[0].attention.reduce.weight.clone()
    assert start(model, tensors()).endswith("new: 18 tensors of attention")  # two in each of nine blocks
    assert torch.equal(model.layer1[0].attention.reduce.weight, before)
    assert torch.equal(model.conv1.weight, tensors()["conv1.weight"])


OTHERS = {  # network -> what is said of its tensors
    "resnet32": "has layer1.3.bn1.bias, layer1.3.bn1.num_batches_tracked, .* and [0-9]+ more; nothing",
    "wrn16-8": r"it has no layer1.2.bn1.bias, .*; has layer1.0.bn1.bias \(128,\) instead of \(16,\), ",
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_refused_by_its_tensors_and_nothing_is_loaded(name: str) -> None:
    model = fresh()
    before = {key: one.clone() for key, one in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"the weights are not those of this resnet20: .*{OTHERS[name]}"):
        start(model, tensors(name))
    assert all(torch.equal(before[key], one) for key, one in model.state_dict().items())


def test_attention_that_the_network_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has layer1.0.attention.expand.weight, "):
        start(fresh(), tensors(attention="se"))


def test_a_file_of_tensors_is_read(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "weights.safetensors")
    read = read_weights(str(tmp_path / "weights.safetensors"), "resnet20")
    assert read.classes is None
    assert torch.equal(read.tensors["conv1.weight"], tensors()["conv1.weight"])


def test_what_is_no_weights_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    torch.save(tensors(), tmp_path / "list.pth")
    for name, reason in (
        ("text.safetensors", ""),
        ("list.pth", "a .pth file is a pickle, which may run anything; write it once with safetensors"),
        ("none.safetensors", "No such file or directory"),
    ):
        message = f"model.weights must be DEFAULT, .*{name} cannot be read: {reason}"
        with pytest.raises(UsageError, match=message) as told:
            read_weights(str(tmp_path / name), "resnet20")
        assert "\n" not in str(told.value)


def test_torchvisions_weights_load_into_our_network(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: theirs)
    read, model = read_weights("DEFAULT", "resnet18"), fresh("resnet18", attention="csm")
    told = start_from(model, "resnet18", read, keeps_head=False)
    assert "new: the last layer, " in told
    assert torch.equal(model.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])


def test_torchvisions_weights_that_are_not_here_and_cannot_be_fetched_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = (
        r"squeezenet1_1 are not in .*checkpoints and cannot be fetched .*: put squeezenet1_1-.*pth there"
    )
    with pytest.raises(UsageError, match=message):
        read_weights("DEFAULT", "squeezenet1_1")
    with pytest.raises(UsageError, match="torchvision has no weights of resnet20, but of resnet18, "):
        read_weights("DEFAULT", "resnet20")


def test_only_the_last_layer_and_attention_stay_to_be_trained() -> None:
    model = fresh(attention="ham")
    assert frozen_norms(model) == []
    freeze_body(model, "resnet20")
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {"fc.weight", "fc.bias", "layer1.0.attention.spatial.norms.0.weight"} <= trained
    assert all(".attention." in name or name.startswith("fc.") for name in trained)
    frozen = frozen_norms(model)
    assert len(frozen) == 1 + 2 * 9  # the stem's and each block's, not those of attention
    assert model.bn1 in frozen
