"""Runs the tutorial's notebook and saves it with its outputs, which the site shows.

python devtools/run_notebook.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.runtime.files import write_text

FILE = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "notebook.ipynb"


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Runs the notebook and saves its outputs.", allow_abbrev=False)
    words.add_argument("--out", type=path, default=FILE, metavar="FILE")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the notebook and writes it."""
    args = parser().parse_args(words)
    import nbformat

    with tempfile.TemporaryDirectory() as home:
        notebook = executed(Path(home))
        text = nbformat.writes(notebook).replace(home, "outputs/notebook")
    write_text(args.out, text + "\n")
    CONSOLE.print(f"wrote {args.out}")


def executed(home: Path) -> Any:
    """The notebook after its run; its files go to a folder.

    Args:
        home: the folder, which exists.
    """
    import os

    import nbformat
    from nbclient import NotebookClient

    os.environ |= {"P2SEG_NOTEBOOK": str(home), "JUPYTER_PLATFORM_DIRS": "1"}
    notebook = nbformat.read(FILE, as_version=4)
    folder = {"metadata": {"path": str(FILE.parent)}}
    NotebookClient(notebook, timeout=300, resources=folder, record_timing=False).execute()
    for cell in notebook.cells:  # numbers of the kernel that no reader needs
        if cell.cell_type == "code":
            cell.execution_count = None
            for each in cell.outputs:
                each.pop("execution_count", None)
    return notebook


if __name__ == "__main__":
    raise SystemExit(main())
