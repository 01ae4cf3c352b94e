"""The blocks of a page: tables, charts, media and text, which the template turns into HTML.

Nothing here knows a run.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from markupsafe import Markup

BROAD = 100  # letters, of two thirds of a page's width
BROAD_PICTURE = 640  # pixels
Size = Literal["third", "half", "large", "wide"]


class Table(NamedTuple):
    """Rows of words; the first column names them."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    is_prose: bool = False  # cells are to the left and folded, rather than columns of numbers
    kind: str = "table"

    @property
    def is_broad(self) -> bool:
        """Whether it needs the whole width of a page."""
        widths = (max(map(len, cells)) + 4 for cells in zip(self.columns, *self.rows, strict=True))
        return self.is_prose or sum(widths) > BROAD


class Facts(NamedTuple):
    """Names and their values, one beside the other."""

    title: str
    pairs: list[tuple[str, str]]
    kind: str = "facts"


class Chart(NamedTuple):
    """A drawing."""

    title: str
    svg: Markup
    note: str = ""
    size: Size = "third"  # of the width of the text, where there is room for several side by side
    broad: Markup | None = None  # the same drawing for a wide page, where letters need no scaling up
    kind: str = "chart"


class Medium(NamedTuple):
    """A picture, a sound or a film inside the page."""

    title: str
    sort: str  # image, audio or video
    source: str  # a data URI
    size: tuple[int, int] | None = None  # width and height of a picture in pixels
    kind: str = "medium"

    @property
    def is_broad(self) -> bool:
        """Whether it is a picture that on a phone is too small to be read whole."""
        return self.size is not None and self.size[0] > max(BROAD_PICTURE, self.size[1])


class Words(NamedTuple):
    """Paragraphs."""

    lines: list[str]
    kind: str = "words"


class Code(NamedTuple):
    """What is to be typed, or a file."""

    title: str
    text: str
    is_folded: bool = False
    kind: str = "code"


class Legend(NamedTuple):
    """Which colour is which; colours are numbered from 0."""

    labels: list[str]
    kind: str = "legend"


class Folded(NamedTuple):
    """Blocks that are shown when asked for."""

    title: str
    blocks: list["Block"]
    kind: str = "folded"


Block = Table | Facts | Chart | Medium | Words | Code | Legend | Folded


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading; one without blocks is not shown."""

    title: str
    blocks: list[Block] = field(default_factory=list)


class Chapter(NamedTuple):
    """All about one run of several."""

    title: str
    subtitle: str
    sections: list[Section]
    is_open: bool


class Page(NamedTuple):
    """All that is on a page."""

    title: str
    subtitle: str
    figures: list[tuple[str, str]]  # the few that matter most
    notes: list[str]  # what is damaged or left out
    sections: list[Section]
    chapters: list[Chapter]
    made_with: str
