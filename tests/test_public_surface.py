"""The public names of ``spl``: which they are, that each is there, and that naming them loads nothing."""

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import spl

PUBLIC = [
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


def test_the_public_names_are_these():
    assert sorted(spl.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(spl))


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"__version__"}))
def test_a_public_name_is_there_and_says_what_it_is(name):
    found = getattr(spl, name)
    assert not isinstance(found, ModuleType)
    assert (found.__module__, found.__name__) == (spl._OWNERS[name], name)
    assert inspect.getdoc(found)


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match=r"'trian_agent'; dir\(spl\) lists the public names"):
        spl.trian_agent  # noqa: B018


def test_import_spl_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import spl; "
        "print(*sorted(set(sys.modules) - before - {'spl', 'typing', 'importlib'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    roots = {name.partition(".")[0] for name in loaded.split()}
    assert not roots & {"torch", "numpy", "gymnasium", "matplotlib", "yaml", "rich"}
    assert not {name for name in loaded.split() if name.startswith("spl.")}
    assert "importlib.metadata" not in loaded.split()  # half of 0.1 s
