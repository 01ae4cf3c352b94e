"""Saliency maps by name, each ``(model, layer, inputs, score) -> (B, H, W)`` in 0..1."""

from spl.saliency.attention_map import attention_map
from spl.saliency.cam import grad_cam, grad_cam_plus_plus, layer_cam, score_cam
from spl.saliency.methods import METHODS
from spl.saliency.perturbation import attributions, integrated_gradients, occlusion
from spl.saliency.rise import rise
from spl.saliency.targets import advantage, chosen, predicted, reconstruction_error

__all__ = [
    "METHODS",
    "advantage",
    "attention_map",
    "attributions",
    "chosen",
    "grad_cam",
    "grad_cam_plus_plus",
    "integrated_gradients",
    "layer_cam",
    "occlusion",
    "predicted",
    "reconstruction_error",
    "rise",
    "score_cam",
]
