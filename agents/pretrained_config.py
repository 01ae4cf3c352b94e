"""Options of the encoder with which an agent's network begins. What they do is in `encoder_init`."""

from dataclasses import dataclass, field
from typing import Literal

from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Positive
from spl.pretrain.config import PretrainRecipe
from spl.pretrain.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig:
    """Whose encoder the network begins with, and how that goes on."""

    run: PathName | None = None  # run directory of spl pretrain autoencoder; sets the encoder's options
    mode: Literal["fine-tune", "frozen"] = "fine-tune"  # train the encoder with the heads, or keep it fixed
    learning_rate: Positive | None = None  # learning rate of the encoder; null: the agent's

    def __post_init__(self) -> None:
        check_fields(self)
        if self.mode == "frozen" and self.learning_rate is not None:
            raise ValueError(f"mode=frozen learns nothing: leave learning_rate {self.learning_rate} out")


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How an autoencoder is trained on the environment before the agent is."""

    recipe: PretrainRecipe = field(default_factory=lambda: PretrainRecipe(epochs=4))
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
