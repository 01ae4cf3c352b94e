"""A network of the user's own: the contract of a Q-head, and what cannot be had with an encoder."""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spl.agents.q_network.decoupled import Sizes
from spl.agents.q_network.heads import HEADS, MakeHead
from spl.config.named_class import Named, parts_of_named
from spl.models.custom import built, check_answer

if TYPE_CHECKING:
    from spl.agents.config import TrainAgentConfig

OPTION = "agent.head"


class CustomHead(nn.Module):
    """An ``nn.Module`` of the user's own that makes Q-values of a code.

    It is made as ``Class(features, sizes, **arguments)``, for codes ``(B, features)`` and actions whose
    dimensions have ``sizes`` values (of a Discrete space one size), and called as ``module(code)`` with
    float32; it returns ``(B, A)`` floats, ``A = sum(sizes)``. Whether value and advantages are apart in it is
    its own business.

    Raises:
        UsageError: if there is no such class, it cannot be made, or it does not keep to this.
    """

    def __init__(self, entry: Named, features: int, sizes: Sizes) -> None:
        super().__init__()
        name, kwargs = parts_of_named(entry, OPTION)
        self.module = built(name, kwargs, OPTION, features, sizes)
        check_answer(
            self.module,
            (torch.zeros(2, features),),
            sum(sizes),
            f"{OPTION}={name}",
            "a Q-value of each action",
        )

    def forward(self, code: Tensor) -> Tensor:
        """Return the module's ``(B, A)`` for ``code (B, D)``."""
        values: Tensor = self.module(code.float())
        return values


def maker_of(entry: Named | None) -> MakeHead | None:
    """Return what makes heads of the class that is named; None where none is."""
    return None if entry is None else partial(CustomHead, entry)


def own_classes(config: "TrainAgentConfig") -> list[Named]:
    """Return what a network has of the user's own: its head, its encoder."""
    own = config.agent.own_head, config.encoder.custom
    return [entry for entry in own if entry is not None]


def check_two_streams(config: "TrainAgentConfig") -> None:
    """Refuse what needs the two streams where an encoder of the user's own takes their place.

    Raises:
        ValueError: naming the option.
    """
    wanted = {
        "pretrain_steps": config.pretrain_steps,
        "pretrained.run": config.pretrained.run,
        "agent.reconstruction": config.agent.reconstruction,
        "agent.sparsity": config.agent.sparsity != "none",
        "agent.fusion": not HEADS[config.agent.fusion].reads_code,
    }
    if config.encoder.custom is not None and (asked := [name for name, value in wanted.items() if value]):
        raise ValueError(
            f"{asked[0]} needs the two streams, whose place encoder.custom={config.encoder.custom} takes: "
            "leave one of them out"
        )
