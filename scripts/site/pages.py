"""Pages that are made when the site is built: hooks of MkDocs, so that none of them is committed.

README.md, CHANGELOG.md and CONTRIBUTING.md come from the root, the reference from docstrings and ``--help``.
A source file that a document links to is shown as it is.
"""

import json
import posixpath
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs loads this as a file, not as a part of a package
from links import PAGES, ROOT, linked_sources, page_of, rewritten, with_films
from notebook import markdown_of
from reference import command_pages, navigation, python_pages

LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference into the navigation."""
    config.extra["made"] = {**python_pages(), **command_pages()}
    for entry in config.nav or []:
        if "Reference" in entry:
            entry["Reference"] = navigation(config.extra["made"])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the root, the reference, notebooks, and the sources that documents link to."""
    documents = {name: (ROOT / name).read_text() for name in PAGES}
    pages = {PAGES[name]: rewritten(text, name) for name, text in documents.items()}
    documents |= {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    for name in linked_sources(documents):
        language = LANGUAGES.get(Path(name).suffix, "text")
        pages[f"source/{name}.md"] = f"# `{name}`\n\n``````{language}\n{(ROOT / name).read_text()}\n``````\n"
    contents = notebooks() | pages | config.extra["made"]
    for page, content in contents.items():
        level = InclusionLevel.NOT_IN_NAV if page.startswith("source/") else InclusionLevel.INCLUDED
        files.append(File.generated(config, page, content=content, inclusion=level))
    return files


def notebooks() -> dict[str, str | bytes]:
    """Return the pages that notebooks make, and their pictures, by path."""
    made: dict[str, str | bytes] = {}
    for path in sorted((ROOT / "docs").rglob("*.ipynb")):
        name = path.relative_to(ROOT).as_posix()
        text, pictures = markdown_of(json.loads(path.read_text()), path.stem)
        made[page_of(name)] = f"{rewritten(text, name)}\n[This page as a notebook]({path.name})\n"
        made |= {f"{posixpath.dirname(page_of(name))}/{one}": content for one, content in pictures.items()}
    return made


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave docs/ lead to pages of the site, and films play."""
    if page.parent is None:  # it is a tab of its own, and has no list of pages beside it
        page.meta.setdefault("hide", []).append("navigation")
    is_made = page.file.generated_by is not None
    return with_films(markdown if is_made else rewritten(markdown, f"docs/{page.file.src_uri}"))
