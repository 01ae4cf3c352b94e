"""A network of your own: an encoder and a Q-head, in the places of spl's.

spl train agent --encoder.class examples.own_network:Encoder --agent.head examples.own_network:Head
"""

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Video by a convolution, audio by a recurrent layer over time; each is zeroed where it is absent."""

    def __init__(self, spec, *, history, width=64):
        super().__init__()
        channels, (bands, _) = history * spec.video[0], spec.audio[1:]
        self.eye = nn.Sequential(
            nn.Conv2d(channels, 16, 8, stride=4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(width), nn.ReLU()
        )
        self.eye(torch.zeros(1, channels, *spec.video[1:]))  # tells the lazy layer its width
        self.ear = nn.GRU(spec.audio[0] * bands, width, batch_first=True)
        self.features = 2 * width

    def forward(self, video: Tensor, audio: Tensor, present: Tensor) -> Tensor:
        """Return ``(B, features)`` of ``(B, T, C, H, W)`` bytes and ``(B, T, C, M, F)`` levels."""
        seen = self.eye(video.flatten(1, 2) / 255)
        over_time = audio.float().permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)  # (B, T F, C M)
        _, heard = self.ear(over_time)
        return torch.cat([seen * present[:, :1], heard[0] * present[:, 1:]], dim=1)


class Head(nn.Module):
    """Q-values by two layers."""

    def __init__(self, features, sizes, *, hidden=64):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, sum(sizes)))

    def forward(self, code: Tensor) -> Tensor:
        """Return ``(B, A)`` for ``(B, features)``."""
        return self.layers(code)
