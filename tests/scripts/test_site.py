"""``scripts/site/``: links as the site has them, the reference made from the code, notebooks."""

import json
import sys
from pathlib import Path

import pytest

import spl

PLACE = Path(__file__).parents[2] / "scripts" / "site"


@pytest.fixture(scope="module", autouse=True)
def _modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLACE)
        yield
    for name in ("links", "notebook", "reference"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "written", "on_the_site"),
    [
        ("README.md", "[a](docs/agent.md#learning)", "[a](agent.md#learning)"),
        ("README.md", "![a](docs/images/pong.png)", "![a](images/pong.png)"),
        ("docs/agent.md", "[a](../README.md#start)", "[a](index.md#start)"),
        ("docs/agent.md", "[a](runs.md), [b](#learning)", "[a](runs.md), [b](#learning)"),
        ("docs/agent.md", "[a](../agents/dqn.py)", "[a](source/agents/dqn.py.md)"),
        (
            "docs/tutorial/index.md",
            "[a](../agent.md), [b](../../CHANGELOG.md)",
            "[a](../agent.md), [b](../changelog.md)",
        ),
        ("README.md", "[a](docs/tutorial/crossing.ipynb)", "[a](tutorial/crossing.md)"),
        ("README.md", "[a](https://example.org/docs/agent.md)", "[a](https://example.org/docs/agent.md)"),
    ],
)
def test_a_link_leads_where_it_does_on_github(name, written, on_the_site):
    from links import rewritten

    assert rewritten(written, name) == on_the_site


def test_sources_that_are_linked_to_are_found():
    from links import linked_sources

    text = "[a](../agents/dqn.py), [b](runs.md), [c](../README.md), [d](../none.py), [e](images/pong.png)"
    assert linked_sources({"docs/agent.md": text}) == ["agents/dqn.py"]


def test_a_picture_that_links_to_a_film_plays():
    from links import with_films

    film = with_films("[![An agent](images/a.png)](images/a.mp4) and [![b](b.png)](b.md)")
    assert 'poster="images/a.png" aria-label="An agent"><source src="images/a.mp4"' in film
    assert film.endswith("and [![b](b.png)](b.md)")


def test_options_of_a_screen():
    from reference import options_list

    screen = """usage: spl x

options:
  --env.id, --env spl/A_1,b
      a name
      or *two* -- a string
  --flag
      on
"""
    assert options_list(screen) == (
        '`--env.id`, `--env` <code class="default">spl/A&#95;1,<wbr>b</code>\n'
        ":   a name; or &#42;two&#42;; *a string*\n\n`--flag`\n:   on\n"
    )
    assert options_list("usage: spl presets\n") == "It has no options.\n"


def test_every_public_name_has_its_place():
    from reference import python_pages

    text = "\n".join(python_pages().values())
    assert [name for name, owner in spl._OWNERS.items() if f"::: {owner}.{name}\n" not in f"{text}\n"] == []


def cell(source, kind="code"):
    return {"cell_type": kind, "source": source.splitlines(keepends=True), "outputs": []}


def test_a_notebook_is_run_and_shown(tmp_path, monkeypatch):
    from matplotlib import pyplot
    from notebook import markdown_of, run

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    drawn = "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.show()"
    cells = [
        "%%writefile made_here.py\nheight_m = 2",
        "from made_here import height_m\nprint(height_m)",
        drawn,
    ]
    notebook = {"cells": [cell("# A title", "markdown"), *map(cell, cells)]}
    pyplot.figure()  # which somebody left open
    run(notebook)
    assert [one.get("execution_count") for one in notebook["cells"]] == [None, 1, 2, 3]
    text, pictures = markdown_of(notebook, "page")
    assert text.startswith("# A title\n\n```python\n%%writefile")
    assert "print(height_m)\n```\n\n```text\n2\n```" in text
    assert text.endswith("![What the cell above draws](page-1.png)\n")
    assert pictures["page-1.png"].startswith(b"\x89PNG")
    with pytest.raises(ZeroDivisionError):
        run({"cells": [cell("1 / 0")]})


def test_the_tutorial_was_run_as_it_stands():
    cells = json.loads((PLACE.parents[1] / "docs" / "tutorial" / "crossing.ipynb").read_text())["cells"]
    code = [one for one in cells if one["cell_type"] == "code"]
    assert [one["execution_count"] for one in code] == list(range(1, len(code) + 1))
    assert sum(output["output_type"] == "display_data" for one in code for output in one["outputs"]) == 4
