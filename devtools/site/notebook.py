"""The page of the tutorial notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """The notebook's cells and outputs as a page."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts += [text] if cell["cell_type"] == "markdown" else [f"```python\n{text}\n```"]
        parts += [_output(each) for each in cell.get("outputs", ())]
    first, *rest = parts
    note = f"!!! note\n\n    Download and run it: [{path.name}]({path.name}). The tests run it too."
    return "\n\n".join((first, note, *rest, ""))


def _output(output: dict[str, Any]) -> str:
    """The output of a notebook cell as Markdown."""
    data = output.get("data", {})
    for kind in ("image/jpeg", "image/png"):
        if kind in data:
            return f'<img alt="the output of this cell" src="data:{kind};base64,{data[kind]}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"
