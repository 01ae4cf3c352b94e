"""A map overlaid on its image: the image as brightness, the map as colour."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

DIM = 0.5  # brightness of black, so that a map shows there too


def overlaid(picture: Tensor, heat: Tensor) -> NDArray[np.float32]:
    """Return ``(H, W, 3)`` in 0..1: where the map is 0 the picture in grey, else the map's colour.

    Args:
        picture: ``(1 or 3, H, W)`` uint8.
        heat: ``(H, W)`` in 0..1.
    """
    from matplotlib import colormaps

    light = picture.float().mean(dim=0).cpu().numpy()[..., None] / 255  # (H, W, 1)
    share = heat.float().cpu().numpy()
    colours = colormaps["inferno"](0.15 + 0.85 * share)[..., :3] * (DIM + (1 - DIM) * light)  # (H, W, 3)
    weight = np.sqrt(share)[..., None]  # little heat shows, too
    blend: NDArray[np.float32] = ((1 - weight) * light + weight * colours).astype(np.float32)
    return blend
