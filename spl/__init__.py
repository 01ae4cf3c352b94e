"""Self-paced, reinforcement, multimodal learning: agents that see and hear.

Public names are imported from the modules that own them, for example ``spl.agents.loop.train_agent``.
"""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "spl-multimodal"  # what is installed: "spl" belongs to others on the package index

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"
