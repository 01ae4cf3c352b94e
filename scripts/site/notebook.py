"""A notebook of the documents, run without Jupyter: ``python scripts/site/notebook.py NOTEBOOK [--keep]``.

Every cell is run in order in one process, as Jupyter would; the first that fails ends it. ``--keep`` writes
what was printed and drawn into the notebook, where GitHub and the site show it. Of Jupyter's magics,
``%%writefile`` is known.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]  # as in a file of nbformat 4
WRITE = "%%writefile "


def run(notebook: Notebook) -> None:
    """Run the code cells of a notebook in the current folder, and put into each what it printed and drew."""
    import matplotlib

    matplotlib.use("Agg")
    figures()  # of whoever drew before: no cell's
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        source, printed, begun_s = "".join(cell["source"]), io.StringIO(), time.perf_counter()
        with contextlib.redirect_stdout(printed):
            if source.startswith(WRITE):
                name, _, text = source.removeprefix(WRITE).partition("\n")
                Path(name).write_text(text + "\n")
            else:
                exec(compile(source, f"cell {number}", "exec"), names)
        cell["execution_count"], cell["outputs"] = number, [*texts(printed.getvalue()), *figures()]
        print(f"cell {number} of {len(code)}: {time.perf_counter() - begun_s:.1f} s", file=sys.stderr)


def texts(printed: str) -> list[dict[str, Any]]:
    """Return what was printed as outputs of a cell."""
    lines = printed.splitlines(keepends=True)
    return [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []


def figures() -> list[dict[str, Any]]:
    """Return the open figures of Matplotlib as outputs of a cell, and close them."""
    from matplotlib import pyplot

    outputs = []
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, format="png", dpi=80)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}
        outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return outputs


def markdown_of(notebook: Notebook, name: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as a page of Markdown, and its pictures by the names under which it shows them."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text'])}```")
            else:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![What the cell above draws]({picture})")
    return "\n\n".join(parts) + "\n", pictures


def main() -> None:
    """Run a notebook in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--keep", action="store_true", help="write the outputs into the notebook")
    args = parser.parse_args()
    path = args.notebook.resolve()
    notebook = json.loads(path.read_text())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, os.getcwd())
        run(notebook)
    if args.keep:
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
