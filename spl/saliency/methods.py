"""The methods by name."""

from collections.abc import Callable
from typing import Any

from spl.saliency.attention_map import attention_map
from spl.saliency.cam import grad_cam, grad_cam_plus_plus, layer_cam, score_cam
from spl.saliency.perturbation import integrated_gradients, occlusion
from spl.saliency.rise import rise

# Each is called (model, layer, inputs, score), as `spl.saliency.layers` tells. Those of `LAYERLESS` need no
# layer with rows and columns; attention is the model's own and heeds no score.
METHODS: dict[str, Callable[..., Any]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "score-cam": score_cam,
    "layer-cam": layer_cam,
    "integrated-gradients": integrated_gradients,
    "occlusion": occlusion,
    "rise": rise,
    "attention": attention_map,
}
LAYERLESS = ("integrated-gradients", "occlusion", "rise")
