"""Links of the documents, which GitHub reads as they are, as the site has them."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
PAGES["README.md"] = "index.md"
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")  # to a file: not to a heading here, not https:
FILM = re.compile(r"\[!\[([^\]]*)\]\(([^)\s]+)\)\]\(([^)\s]+\.mp4)\)")  # a picture that links to a film


def rewritten(markdown: str, name: str) -> str:
    """Return a document with its links as the site has them; ``name`` is its path from the root."""
    here = posixpath.dirname(page_of(name))

    def lead(match: re.Match[str]) -> str:
        return f"]({posixpath.relpath(page_of(target_of(match[1], name)), here or '.')}{match[2] or ''})"

    return LINK.sub(lead, markdown)


def with_films(markdown: str) -> str:
    """Return a document in which a picture that links to a film is the film, which plays there."""
    film = r'<source src="\3" type="video/mp4"><a href="\3">\1</a></video>'
    return FILM.sub(rf'<video controls preload="metadata" poster="\2" aria-label="\1">{film}', markdown)


def linked_sources(documents: Mapping[str, str]) -> list[str]:
    """Return the files that documents link to and that are no pages; all by their path from the root."""
    targets = {target_of(match[1], name) for name, text in documents.items() for match in LINK.finditer(text)}
    return sorted(one for one in targets if page_of(one).startswith("source/") and (ROOT / one).is_file())


def target_of(link: str, name: str) -> str:
    """Return what a link in the document ``name`` leads to; paths are from the root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def page_of(name: str) -> str:
    """Return a file's place on the site, before MkDocs makes HTML of it."""
    if name in PAGES:
        return PAGES[name]
    return (
        name.removeprefix("docs/").replace(".ipynb", ".md")
        if name.startswith("docs/")
        else f"source/{name}.md"
    )
