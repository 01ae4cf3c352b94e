"""Self-paced learning: one weight per sample from one loss per sample, and the pace of harder ones.

`weights` holds the closed forms, `pace` who is included and when, `curriculum` the state of a run, `config`
its options, and `difficulty` reads what a user gives.
"""

from spl.curriculum.config import CurriculumConfig
from spl.curriculum.curriculum import Curriculum, Round
from spl.curriculum.difficulty import read_difficulty
from spl.curriculum.pace import absolute_pace, easiest, share_at, threshold
from spl.curriculum.weights import SCHEMES

__all__ = [
    "SCHEMES",
    "Curriculum",
    "CurriculumConfig",
    "Round",
    "absolute_pace",
    "easiest",
    "read_difficulty",
    "share_at",
    "threshold",
]
