"""A copy of the memory's video and audio on the device, where stacks are assembled without the host."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.records import Observation


class Mirror:
    """A copy of ``video (N, C, H, W)`` and ``audio (N, C, M, F)`` on ``device``, kept equal by :meth:`write`.

    A draw then sends ``B (T + 1)`` places to the device instead of as many pictures and sounds.
    """

    def __init__(self, video: NDArray[np.uint8], audio: NDArray[np.generic], device: torch.device) -> None:
        self.device = device
        self.video = torch.tensor(video, device=device)
        self.audio = torch.tensor(audio, device=device)

    def write(self, slot: int, observation: Observation) -> None:
        """Copy one observation to its slot."""
        self.video[slot].copy_(torch.from_numpy(observation.video), non_blocking=True)
        self.audio[slot].copy_(torch.from_numpy(observation.audio), non_blocking=True)

    def stack(self, slots: NDArray[np.int64], is_before: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Return video and audio ``(B, T, ...)`` of ``slots (B, T)``, zero before the episode began."""
        places = torch.from_numpy(slots % self.video.shape[0]).to(self.device)
        video, audio = self.video[places], self.audio[places]
        if is_before.any():
            blank = torch.from_numpy(is_before).to(self.device)[:, :, None, None, None]
            video.masked_fill_(blank, 0)
            audio.masked_fill_(blank, 0)
        return video, audio
