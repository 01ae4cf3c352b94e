"""The configuration of a film."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spl.agents.load import Which
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Count0, NotNegative, Positive, Scale, Seed
from spl.media.video_writer import CODECS


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """What is filmed, and what is shown of it."""

    out: PathName | None = None  # output file; suffix sets the codecs; null: agent.mp4 in the run directory
    num_episodes: Count = 1  # at most
    duration_s: Positive = 120.0  # of the film at most
    modalities: Literal["both", "video", "audio"] = "both"  # inputs of the agent; the film shows all
    failure: str | None = None  # a condition of spl evaluate agent --conditions all, such as 'video frozen'
    fails_at_step: Count0 = 30  # of each episode
    monitor: bool = False  # detect failures with the monitor that spl evaluate agent --monitor fitted
    overlay: bool = True  # saliency maps over video and audio
    subtitle_s: NotNegative = 1.5  # time for which a subtitle stays; 0: one for each decision
    scale: Scale | None = None  # factor by which frames are enlarged; null: to about 400 rows
    seed: Seed = 1_000_000  # of the first episode; differs from those of training
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training
    trust: bool = False  # import the classes that a bundle names

    def __post_init__(self) -> None:
        check_fields(self)
        if self.out is not None and Path(self.out).suffix.lower() not in CODECS:
            raise ValueError(f"out must end in one of {', '.join(CODECS)}, got {self.out}")
        if self.failure is None and self.fails_at_step != FilmConfig.fails_at_step:
            raise ValueError(f"fails_at_step={self.fails_at_step} needs --failure, such as 'video frozen'")
