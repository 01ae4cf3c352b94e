"""Multimodal reinforcement learning, pretraining and classification with self-paced curricula.

The public names are attributes of ``spl``: ``spl.train_agent``, ``spl.grad_cam``. Each is imported from the
module that owns it when it is first used, so that ``import spl`` loads neither torch nor gymnasium.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spl.agents.config import LoopConfig, MemoryConfig, TrainAgentConfig
    from spl.agents.curriculum_config import ReplayCurriculumConfig
    from spl.agents.dqn import MultimodalDqn
    from spl.agents.dqn_config import DqnConfig
    from spl.agents.evaluation.evaluate import EvaluateAgentConfig, evaluate, evaluate_agent
    from spl.agents.evaluation.explain import ExplainAgentConfig, explain_agent
    from spl.agents.film.command import film
    from spl.agents.film.config import FilmConfig
    from spl.agents.q_network.network import MultimodalQNetwork
    from spl.agents.record import RecordConfig, record
    from spl.agents.replay.memory import ReplayMemory
    from spl.agents.sharing.export import export_agent
    from spl.agents.sharing.push import push
    from spl.agents.train import train_agent
    from spl.agents.trained import TrainedAgent, load
    from spl.attention.insertion.insert import insert_attention
    from spl.attention.maps import attention_maps
    from spl.attention.plot import draw_attention
    from spl.classify.config import TrainClassifierConfig
    from spl.classify.evaluation.evaluate import EvaluateClassifierConfig, evaluate_classifier
    from spl.classify.train import train_classifier
    from spl.curriculum.config import CurriculumConfig
    from spl.curriculum.curriculum import Curriculum
    from spl.envs.check.command import check_env
    from spl.envs.check.config import CheckEnvConfig
    from spl.envs.config import EnvConfig
    from spl.envs.plain import make_env
    from spl.models.autoencoder import TwoStreamAutoencoder
    from spl.models.encoder import EncoderConfig, TwoStreamEncoder
    from spl.pretrain.config import PretrainConfig
    from spl.pretrain.evaluate import EvaluateAutoencoderConfig, evaluate_autoencoder
    from spl.pretrain.train import pretrain_autoencoder
    from spl.records import Batch, Observation, StreamSpec, Transition
    from spl.saliency.cam import grad_cam, grad_cam_plus_plus, layer_cam, score_cam
    from spl.saliency.perturbation import integrated_gradients, occlusion
    from spl.saliency.rise import rise
    from spl.saliency.shapley import shapley_values
    from spl.saliency.targets import advantage, chosen, predicted, reconstruction_error

    __version__: str

DISTRIBUTION = "spl-multimodal"  # what is installed: "spl" belongs to others on the package index
_OWNERS = {  # public name -> module that owns it
    "Batch": "spl.records",
    "CheckEnvConfig": "spl.envs.check.config",
    "Curriculum": "spl.curriculum.curriculum",
    "CurriculumConfig": "spl.curriculum.config",
    "DqnConfig": "spl.agents.dqn_config",
    "EncoderConfig": "spl.models.encoder",
    "EnvConfig": "spl.envs.config",
    "EvaluateAgentConfig": "spl.agents.evaluation.evaluate",
    "EvaluateAutoencoderConfig": "spl.pretrain.evaluate",
    "EvaluateClassifierConfig": "spl.classify.evaluation.evaluate",
    "ExplainAgentConfig": "spl.agents.evaluation.explain",
    "FilmConfig": "spl.agents.film.config",
    "LoopConfig": "spl.agents.config",
    "MemoryConfig": "spl.agents.config",
    "MultimodalDqn": "spl.agents.dqn",
    "MultimodalQNetwork": "spl.agents.q_network.network",
    "Observation": "spl.records",
    "PretrainConfig": "spl.pretrain.config",
    "RecordConfig": "spl.agents.record",
    "ReplayCurriculumConfig": "spl.agents.curriculum_config",
    "ReplayMemory": "spl.agents.replay.memory",
    "StreamSpec": "spl.records",
    "TrainAgentConfig": "spl.agents.config",
    "TrainClassifierConfig": "spl.classify.config",
    "TrainedAgent": "spl.agents.trained",
    "Transition": "spl.records",
    "TwoStreamAutoencoder": "spl.models.autoencoder",
    "TwoStreamEncoder": "spl.models.encoder",
    "advantage": "spl.saliency.targets",
    "attention_maps": "spl.attention.maps",
    "check_env": "spl.envs.check.command",
    "chosen": "spl.saliency.targets",
    "draw_attention": "spl.attention.plot",
    "evaluate": "spl.agents.evaluation.evaluate",
    "evaluate_agent": "spl.agents.evaluation.evaluate",
    "evaluate_autoencoder": "spl.pretrain.evaluate",
    "evaluate_classifier": "spl.classify.evaluation.evaluate",
    "explain_agent": "spl.agents.evaluation.explain",
    "export_agent": "spl.agents.sharing.export",
    "film": "spl.agents.film.command",
    "grad_cam": "spl.saliency.cam",
    "grad_cam_plus_plus": "spl.saliency.cam",
    "insert_attention": "spl.attention.insertion.insert",
    "integrated_gradients": "spl.saliency.perturbation",
    "layer_cam": "spl.saliency.cam",
    "load": "spl.agents.trained",
    "make_env": "spl.envs.plain",
    "occlusion": "spl.saliency.perturbation",
    "predicted": "spl.saliency.targets",
    "pretrain_autoencoder": "spl.pretrain.train",
    "push": "spl.agents.sharing.push",
    "reconstruction_error": "spl.saliency.targets",
    "record": "spl.agents.record",
    "rise": "spl.saliency.rise",
    "score_cam": "spl.saliency.cam",
    "shapley_values": "spl.saliency.shapley",
    "train_agent": "spl.agents.train",
    "train_classifier": "spl.classify.train",
}
__all__ = [
    "Batch",
    "CheckEnvConfig",
    "Curriculum",
    "CurriculumConfig",
    "DqnConfig",
    "EncoderConfig",
    "EnvConfig",
    "EvaluateAgentConfig",
    "EvaluateAutoencoderConfig",
    "EvaluateClassifierConfig",
    "ExplainAgentConfig",
    "FilmConfig",
    "LoopConfig",
    "MemoryConfig",
    "MultimodalDqn",
    "MultimodalQNetwork",
    "Observation",
    "PretrainConfig",
    "RecordConfig",
    "ReplayCurriculumConfig",
    "ReplayMemory",
    "StreamSpec",
    "TrainAgentConfig",
    "TrainClassifierConfig",
    "TrainedAgent",
    "Transition",
    "TwoStreamAutoencoder",
    "TwoStreamEncoder",
    "__version__",
    "advantage",
    "attention_maps",
    "check_env",
    "chosen",
    "draw_attention",
    "evaluate",
    "evaluate_agent",
    "evaluate_autoencoder",
    "evaluate_classifier",
    "explain_agent",
    "export_agent",
    "film",
    "grad_cam",
    "grad_cam_plus_plus",
    "insert_attention",
    "integrated_gradients",
    "layer_cam",
    "load",
    "make_env",
    "occlusion",
    "predicted",
    "pretrain_autoencoder",
    "push",
    "reconstruction_error",
    "record",
    "rise",
    "score_cam",
    "shapley_values",
    "train_agent",
    "train_classifier",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that owns it."""
    if name == "__version__":
        value: Any = _version()
    elif name in _OWNERS:
        value = getattr(importlib.import_module(_OWNERS[name]), name)
    else:
        raise AttributeError(f"module 'spl' has no attribute {name!r}; dir(spl) lists the public names")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all else here

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a checkout that was never installed
        return "0.0.0"
