"""Greedy pre-training: which layers are trained in which order, and that every stage learns."""

import pytest
import seen_and_heard as toy
import torch
from torch import nn

from spl.data.statistics import Moments
from spl.models.autoencoder import TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.streams import in_units
from spl.pretrain.greedy_stages import Stage, greedy_stages
from spl.records import AUDIO, VIDEO, StreamSpec
from spl.training.losses import reconstruction


def make(spec: StreamSpec = toy.SPEC, **changes: object) -> TwoStreamAutoencoder:
    torch.manual_seed(0)
    sizes = {"video_widths": (64, 48), "audio_widths": (24,), "features": 32, "attention": "none"}
    options = {"video_stream": "dense", "audio_stream": "dense", **sizes, **changes}
    config = EncoderConfig(**options, video_features=32, audio_features=16)  # type: ignore[arg-type]
    return TwoStreamAutoencoder(build_encoder(config, spec, history=1))


def moments_of(stage: Stage, x: torch.Tensor) -> Moments:
    moments = Moments()
    moments.add(stage.target(x))
    return moments


def test_stages_go_up_each_stream_and_mirror_each_other() -> None:
    autoencoder = make()
    stages = list(greedy_stages(autoencoder))
    assert [(stage.modality, stage.number) for stage in stages] == [
        *((VIDEO, number) for number in range(3)),
        *((AUDIO, number) for number in range(2)),
    ]
    modalities = toy.draw(5, 0)
    for stage in stages:
        target = stage.target(modalities[stage.modality])
        assert not target.requires_grad
        assert stage.reconstruct(target).shape == target.shape
        layer = stage.stream.layers[stage.number]
        mirror = next(module for module in stage.decoder.layers if module.weight is stage.parameters[-2])
        assert (mirror.in_features, mirror.out_features) == (layer.out_features, layer.in_features)
    assert torch.equal(stages[0].target(modalities[0]), in_units(modalities[0]))
    features = autoencoder.encoder.video.layer(0, in_units(modalities[0]))
    assert torch.equal(stages[1].target(modalities[0]), features)
    trained = {id(parameter) for stage in stages for parameter in stage.parameters}
    left = [name for name, parameter in autoencoder.named_parameters() if id(parameter) not in trained]
    assert left == [
        f"{layer}.{kind}"
        for layer in ("encoder.fuse", "video.hidden.0", "audio.hidden.0")
        for kind in ("weight", "bias")
    ]


@pytest.mark.parametrize("attention", ["none", "csm"])
def test_the_gradient_of_a_stage_is_in_its_parameters_alone(attention: str) -> None:
    autoencoder = make(attention=attention)
    if attention == "csm":
        nn.init.constant_(autoencoder.encoder.video.attention.spatial.gamma, 0.1)
        nn.init.constant_(autoencoder.encoder.video.attention.channel.reduce.weight, 0.2)
    modalities = toy.draw(64, 0)
    for stage in greedy_stages(autoencoder):
        autoencoder.zero_grad(set_to_none=True)
        stage.losses(
            modalities[stage.modality], variance=1.0, drop=0.2, generator=torch.Generator().manual_seed(0)
        ).mean().backward()
        reached = {id(parameter) for parameter in autoencoder.parameters() if parameter.grad is not None}
        assert reached == {id(parameter) for parameter in stage.parameters}
        assert all(parameter.grad.isfinite().all() for parameter in stage.parameters)


def test_a_stage_is_shown_the_corrupted_and_wants_the_clean() -> None:
    stage = next(iter(greedy_stages(make())))
    video, _ = toy.draw(6, 0)
    losses = stage.losses(video, variance=0.5, drop=1.0, generator=torch.Generator().manual_seed(0))
    target = in_units(video)
    expected = reconstruction(stage.reconstruct(torch.zeros_like(target)), target, variance=0.5)
    assert torch.equal(losses, expected)
    clean = stage.losses(video, variance=0.5, drop=0.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clean, reconstruction(stage.reconstruct(target), target, variance=0.5))


def test_every_stage_learns_and_leaves_what_lies_below() -> None:
    autoencoder, modalities, held_out = make(), toy.draw(1024, 0), toy.draw(256, 1)
    generator = torch.Generator().manual_seed(0)
    for stage in greedy_stages(autoencoder):
        x, variance = modalities[stage.modality], moments_of(stage, modalities[stage.modality]).variance
        below = stage.target(held_out[stage.modality])
        with torch.no_grad():
            before = reconstruction(stage.reconstruct(below), below, variance=variance).mean().item()
        optimizer = torch.optim.Adam(stage.parameters, lr=3e-3)
        for _ in range(200):
            rows = torch.randint(1024, (32,), generator=generator)
            optimizer.zero_grad()
            stage.losses(x[rows], variance=variance, drop=0.1, generator=generator).mean().backward()
            optimizer.step()
        assert torch.equal(stage.target(held_out[stage.modality]), below)
        with torch.no_grad():
            after = reconstruction(stage.reconstruct(below), below, variance=variance).mean().item()
        assert before > 1.0
        assert after < 0.5, (stage.modality, stage.number)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"video_stream": "small", "video_widths": (512, 256)},
            "got VideoStream for video: set encoder.video_",
        ),
        (
            {"audio_stream": "mlp", "audio_widths": (256, 128)},
            "got AudioMlp for audio: set encoder.audio_str",
        ),
    ],
)
def test_only_dense_streams_have_stages(options: dict[str, object], message: str) -> None:
    autoencoder = make(toy.SPEC._replace(video=(1, 36, 36)), **options)
    with pytest.raises(ValueError, match=message):
        list(greedy_stages(autoencoder))
