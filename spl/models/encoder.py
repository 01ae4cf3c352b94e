"""The two-stream encoder that autoencoder and Q-network share: video stream, audio stream, fusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spl.attention.stream import Start, StreamAttention, check_stream_options
from spl.config.fields import check_fields
from spl.config.named_class import Named, parts_of_named
from spl.config.ranges import Count
from spl.models.pictures import PictureNorm
from spl.models.streams import (
    AUDIO_STREAMS,
    VIDEO_STREAMS,
    AudioMlp,
    AudioStream,
    DenseStream,
    VideoStream,
    draw_as_pytorch,
)
from spl.records import StreamSpec

Features = tuple[Tensor | None, Tensor | None]  # (B, D) of video and audio; None: a stream not built
CODE = ("fuse.weight", "fuse.bias")  # of an encoder's state: the layer that makes the joint code
Init = Literal["scaled", "pytorch"]
ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid}


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of the two streams and of their joint code."""

    video_stream: Literal["nature", "nature-pooled", "small", "small-pooled", "mdqn", "dense"] = (
        "small"  # convolutions, or dense layers
    )
    attention: StreamAttention = "csm"  # in the video stream: after convolutions, before dense layers
    attention_options: dict[str, Any] = field(default_factory=dict)  # its options, such as {reduction: 4}
    attention_start: Start = "neutral"  # neutral: undo what its gates attenuate at the start
    audio_stream: Literal["conv", "mlp", "dense"] = "conv"  # convolutions over the log-mel, or dense layers
    video_widths: tuple[Count, ...] = (512, 256)  # widths of the hidden layers of a dense video stream
    audio_widths: tuple[Count, ...] = (256, 128)  # widths of the hidden layers of a dense audio stream
    video_features: Count = 256  # output width of the video stream
    audio_features: Count = 128  # output width of the audio stream
    features: Count = 256  # width of the joint code
    code_activation: Literal["relu", "sigmoid"] = "relu"  # activation of the joint code; sigmoid: in 0..1
    absent: Literal["gate", "zeros"] = (
        "gate"  # an absent modality's features are gated off and flagged, or its input is zero
    )
    init: Init = "scaled"  # initial weights of the streams: variance 1 / inputs, or PyTorch's, a third of it
    standardise_video: bool = False  # subtract the mean of the first pictures, divide by their deviation
    custom: Named | None = None  # your own module:Class instead of both streams; in YAML with arguments

    def __post_init__(self) -> None:
        check_fields(self)
        if self.custom is not None:
            parts_of_named(self.custom, "custom")
            kept = {"custom": self.custom, "attention_start": self.attention_start}  # of a run made before
            usual = {**vars(EncoderConfig()), **kept}
            if others := [name for name, value in vars(self).items() if value != usual[name]]:
                raise ValueError(
                    f"custom={self.custom} takes the place of both streams: leave {', '.join(others)} out"
                )
        check_stream_options(self.attention, self.attention_options)
        if self.standardise_video and self.video_stream == "dense":
            raise ValueError(
                "standardise_video is of convolutions, and a dense stream subtracts the mean of its "
                "pretraining: leave it out, or set video_stream to another"
            )
        for modality in ("video", "audio"):
            name, widths = f"{modality}_widths", getattr(self, f"{modality}_widths")
            if getattr(self, f"{modality}_stream") != "dense" and widths != getattr(EncoderConfig, name):
                raise ValueError(
                    f"{name} are those of a dense stream, got {widths} for the "
                    f"{getattr(self, f'{modality}_stream')} one: set {modality}_stream to dense"
                )


class TwoStreamEncoder(nn.Module):
    """Video and audio, each in its own stream, fused into one code that knows which of them is absent.

    An absent modality's features are zeroed and its presence flag is 0, so nothing that its stream makes of
    zeros (biases) reaches the code. With ``absent="zeros"`` there are neither gates nor flags: the stream
    reads zeros, and what it makes of them reaches the code. That is Ngiam's plain reading, which cannot
    tell darkness from no picture. A stream whose shape has a zero is not built.

    Args:
        spec: shapes of one step.
        history: ``T``.
        video_stream: of `VIDEO_STREAMS`, or the widths of a dense stream.
        attention: of `StreamAttention`, in the video stream.
        attention_options, attention_start: of that module, see `gain_of`.
        video_features, audio_features: of each stream.
        audio_stream: of `AUDIO_STREAMS`, or the widths of a dense stream.
        features: ``D`` of the code.
        code_activation: of `ACTIVATIONS`.
        absent: ``gate`` or ``zeros``.
        init: of the streams' layers, see `initialise`, or ``pytorch``, see `draw_as_pytorch`.
        standardise_video: whether the convolutions read standardised pictures (`PictureNorm`).

    Source: Ngiam et al. (2011), Multimodal deep learning, section 3.2, for the zeros.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        history: int,
        video_stream: str | Sequence[int],
        attention: str,
        video_features: int,
        audio_stream: str | Sequence[int],
        audio_features: int,
        features: int,
        code_activation: str = "relu",  # what agents have always had
        attention_options: Mapping[str, Any] = {},
        attention_start: Start = "neutral",
        absent: str = "gate",
        init: Init = "scaled",
        standardise_video: bool = False,
    ) -> None:
        super().__init__()
        self.video: VideoStream | DenseStream | None = None
        self.audio: AudioStream | AudioMlp | DenseStream | None = None
        if spec.has_video:
            seen: dict[str, Any] = {
                "history": history,
                "attention": attention,
                "attention_options": attention_options,
                "attention_start": attention_start,
                "features": video_features,
            }
            self.video = (
                VideoStream(
                    spec.video, layers=VIDEO_STREAMS[video_stream], standardise=standardise_video, **seen
                )
                if isinstance(video_stream, str)
                else DenseStream(spec.video, widths=video_stream, **seen)
            )
        if spec.has_audio:
            heard: dict[str, Any] = {"history": history, "features": audio_features}
            self.audio = (
                AUDIO_STREAMS[audio_stream](spec.audio, **heard)
                if isinstance(audio_stream, str)
                else DenseStream(spec.audio, widths=audio_stream, **heard)
            )
        if init == "pytorch":
            for stream in (self.video, self.audio):
                if stream is not None:
                    draw_as_pytorch(stream)
        self.stream_features = (
            video_features if spec.has_video else 0,
            audio_features if spec.has_audio else 0,
        )
        if absent not in ("gate", "zeros"):
            raise ValueError(f"absent must be 'gate' or 'zeros', got {absent!r}")
        if absent == "zeros" and not any(self.stream_features):
            raise ValueError("absent=zeros needs a picture or a sound, and there is neither: leave it out")
        self.features = features
        self.code_activation = code_activation
        self.absent = absent
        self.fuse: nn.Linear | None = nn.Linear(
            sum(self.stream_features) + (2 if absent == "gate" else 0), features
        )

    @property
    def picture_norm(self) -> PictureNorm | None:
        """What standardises the pictures, if anything does."""
        return self.video.norm if isinstance(self.video, VideoStream) else None

    def leave_out_code(self) -> None:
        """Have no layer of the joint code, for heads that read each stream alone: it would never learn."""
        self.fuse = None

    def streams(self, video: Tensor, audio: Tensor, present: Tensor) -> Features:
        """Return each stream's features ``(B, D)``, zero where absent; None for a stream not built."""
        return self.gated(self.ungated(video, audio), present)

    def ungated(self, video: Tensor, audio: Tensor) -> Features:
        """Return each stream's features ``(B, D)``, whether it is present or not: what costs the time."""
        seen = None if self.video is None else self.video(video)  # (B, Dv)
        heard = None if self.audio is None else self.audio(audio)  # (B, Da)
        return seen, heard

    def gated(self, features: Features, present: Tensor) -> Features:
        """Return what :meth:`ungated` returned; where ``present (B, 2)`` is down zero, or what zeros give."""
        seen, heard = features
        return (
            None if seen is None else self._gated(seen, self.video, present[:, :1]),
            None if heard is None else self._gated(heard, self.audio, present[:, 1:]),
        )

    def _gated(self, features: Tensor, stream: Any, gate: Tensor) -> Tensor:
        """Return ``features (B, D)`` where the ``gate (B, 1)`` is up; else 0, or what zeros give."""
        if self.absent == "gate":
            return features * gate.to(features.dtype)
        dtype = torch.uint8 if stream is self.video else torch.float32
        nothing = torch.zeros(1, *stream.shape, dtype=dtype, device=gate.device)
        return torch.where(gate > 0, features, stream(nothing))  # (B, D)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Tensor:
        """Return the code ``(B, D)``.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
        """
        return self.code(self.streams(video, audio, present), present)

    def code(self, streams: Features, present: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the code ``(B, D)`` of what :meth:`streams` returned for ``present (B, 2)``.

        ``beside (B, D)`` is what else joins here: it is added before the activation, as the product of more
        features with more columns of the layer's weights would be.
        """
        assert self.fuse is not None
        parts = [part for part in streams if part is not None]
        flags = [present.to(self.fuse.weight.dtype)] if self.absent == "gate" else []
        joint = torch.cat([*parts, *flags], dim=1)  # (B, Dv + Da + 2)
        fused = self.fuse(joint) if beside is None else self.fuse(joint) + beside
        return ACTIVATIONS[self.code_activation](fused)  # (B, D)


def build_encoder(config: EncoderConfig, spec: StreamSpec, *, history: int) -> TwoStreamEncoder:
    """Return the encoder of ``config``, its weights drawn from torch's generator.

    Raises:
        ValueError: if a stream cannot read what ``spec`` describes.
    """
    return TwoStreamEncoder(
        spec,
        history=history,
        video_stream=config.video_widths if config.video_stream == "dense" else config.video_stream,
        attention=config.attention,
        attention_options=config.attention_options,
        attention_start=config.attention_start,
        video_features=config.video_features,
        audio_stream=config.audio_widths if config.audio_stream == "dense" else config.audio_stream,
        audio_features=config.audio_features,
        features=config.features,
        code_activation=config.code_activation,
        absent=config.absent,
        init=config.init,
        standardise_video=config.standardise_video,
    )
