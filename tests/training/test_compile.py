"""Compiled losses are those of the plain function; a missing compiler is reported in a sentence."""

import pytest
import torch

from spl.agents.config import build_agent
from spl.training.compile import compiled
from tests.agents.q_network.test_low_precision import CPU, SPEC, agent_of, batch_of


def test_a_missing_compiler_is_told(smoke, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler on the CPU, found none of g\+\+, clang"):
        build_agent(smoke("--agent.compile", "true"), SPEC, (4,), CPU)
    monkeypatch.setenv("CXX", "/no/such/compiler")
    with pytest.raises(ValueError, match="found none of /no/such/compiler; install"):
        compiled(torch.sin, CPU)


@pytest.mark.slow  # half a minute of compiling
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_losses_and_gradients_are_those_of_the_plain_function(smoke, precision):
    plain = agent_of(smoke, precision)
    fast = agent_of(smoke, precision, "--agent.compile", "true")
    assert fast.state_dict()["network"].keys() == plain.state_dict()["network"].keys()
    expected, found = plain.losses(batch_of()), fast.losses(batch_of())
    tolerance = 1e-4 if precision == "float32" else 0.05
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    expected.mean().backward()
    found.mean().backward()
    for one, two in zip(plain.network.parameters(), fast.network.parameters(), strict=True):
        assert (one.grad - two.grad).norm() <= 10 * tolerance * one.grad.norm() + 1e-6
    for agent in (plain, fast):  # a compiled function sees the weights move
        with torch.no_grad():
            agent.network.encoder.fuse.weight.mul_(0.5)
        agent.sync()
    torch.testing.assert_close(
        fast.losses(batch_of()), plain.losses(batch_of()), rtol=tolerance, atol=tolerance
    )
