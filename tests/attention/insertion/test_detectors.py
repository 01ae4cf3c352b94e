"""Attention in torchvision's detectors: the same answers at first, gradients everywhere, old weights load."""

import copy

import pytest
import torch
import torchvision

from spl.attention.insertion.insert import insert_attention

DETECTION = torchvision.models.detection
NETS = {  # maker, where, modules
    "fasterrcnn, pyramid": (DETECTION.fasterrcnn_mobilenet_v3_large_fpn, "backbone.fpn.layer_blocks.*", 2),
    "retinanet, stages": (DETECTION.retinanet_resnet50_fpn, "stage", 4),
}
SIDE = 96


def made(maker):
    torch.manual_seed(0)
    return maker(weights=None, weights_backbone=None, num_classes=3, min_size=SIDE, max_size=SIDE)


@pytest.mark.parametrize("name", NETS)
def test_a_detector_answers_the_same_learns_everywhere_and_takes_old_weights(name):
    maker, where, count = NETS[name]
    detector = made(maker).eval()
    old = copy.deepcopy(detector.state_dict())
    images = [torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))]
    before = detector.backbone(images[0][None])
    done = insert_attention(detector, "csm", where=where, spatial="pooled")
    assert len(done.inserted) == count
    after = detector.backbone(images[0][None])
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before), "gamma is 0"
    assert set(detector(images)[0]) == {"boxes", "labels", "scores"}

    with torch.no_grad():
        for key, parameter in detector.named_parameters():
            if key.endswith("gamma"):
                parameter.fill_(0.5)
    changed = detector.backbone(images[0][None])
    assert any(not torch.equal(before[key], changed[key]) for key in before)
    targets = [{"boxes": torch.tensor([[10.0, 10.0, 60.0, 70.0]]), "labels": torch.tensor([1])}]
    detector.train()
    sum(detector(images * 2, targets * 2).values()).backward()
    new = {key: one for key, one in detector.named_parameters() if "attention" in key or "gamma" in key}
    assert len(new) >= 4 * count
    assert all(one.grad is not None and one.grad.isfinite().all() for one in new.values())
    assert all(one.grad.any() for key, one in new.items() if key.endswith(("gamma", "conv.weight")))

    loaded = detector.load_state_dict(old, strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == set(detector.state_dict()) - set(old)
    fresh = made(maker)
    insert_attention(fresh, "csm", where=where, spatial="pooled")
    fresh.load_state_dict(detector.state_dict())


def test_a_mobilenet_has_no_residual_block_and_says_where_else():
    with pytest.raises(ValueError, match=r"FasterRCNN has no residual block .* name modules to insert after"):
        insert_attention(made(DETECTION.fasterrcnn_mobilenet_v3_large_fpn), "csm")
