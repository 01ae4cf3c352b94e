"""What an agent may have beside its networks."""

from typing import NamedTuple

from spl.agents.augmentation import Augmentation
from spl.agents.q_network.implicit import Fractions
from spl.agents.q_network.reconstruction import Decoders
from spl.agents.q_network.resets import Redraw


class Companions(NamedTuple):
    """What an agent has beside its networks where its options ask for it; None: they do not."""

    decoders: Decoders | None = None  # learn with the network
    augmentation: Augmentation | None = None  # changes what is learned
    redraw: Redraw | None = None  # makes the networks of resets
    fractions: Fractions | None = None  # at which implicit quantiles are learned
    own_seed: int | None = None  # of what layers of the user's own draw while they learn
