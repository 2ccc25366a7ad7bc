"""Writes the results page, docs/tables.md, from the tables in results/.

    python devtools/results_page.py

A table is a `.json` file that scripts/reproduce.py or scripts/reproduce_real.py wrote. Copy it to
`results/`, run this script and commit both. The same files give the same page, byte for byte.
Tables of real images come first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2seg.cli.arguments import CONSOLE, Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.files import read_json, write_text
from scripts.markdown_table import markdown_of

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Results

`python devtools/results_page.py` writes this page from the tables in `results/`. Every cell is the
mean over the random seeds ± half of their range. Pseudo masks are of the training images, with the
points given. Scores of segmentors are of the val images, without points. The
[log of experiments](results.md) has everything else that was measured.
"""
EMPTY = """
There is no table yet. `./scripts/reproduce_real.sh nuclei` makes the first one;
[Reproduce the paper](reproduce.md#real-images) has the details.
"""
NEEDED = {"title", "data", "seeds", "columns", "rows", "note", "commits"}


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Writes the page of results.", allow_abbrev=False)
    words.add_argument("--results", type=path, default=ROOT / "results", metavar="DIR")
    words.add_argument("--out", type=path, default=ROOT / "docs" / "tables.md", metavar="FILE")
    return words


@command
def main(words: list[str]) -> None:
    """Writes the results page."""
    asked = parser().parse_args(words)
    write_text(asked.out, page_of(asked.results))
    CONSOLE.print(f"wrote {asked.out}")


def page_of(folder: Path) -> str:
    """Returns the page with the tables of a folder.

    Raises:
        UserError: a file is not a table.
    """
    files = sorted(folder.glob("*.json"), key=lambda each: (_is_not_real(each), each.name))
    sections = [_section(file) for file in files]
    return HEAD + ("".join(sections) or EMPTY)


def _is_not_real(file: Path) -> bool:
    return not file.name.startswith("table_real_")


def _section(file: Path) -> str:
    """Returns the heading, the table and the commands of its rows."""
    content = read_json(file, "table")
    if not isinstance(content, dict) or not content.keys() >= NEEDED:
        raise UserError(
            f"{file} is not a table of scripts/reproduce.py or scripts/reproduce_real.py; remove it"
        )
    seeds, commits = (", ".join(map(str, content[key])) for key in ("seeds", "commits"))
    _, _, *lines = markdown_of(content)
    origin = f"Data: `{content['data']}`. Seeds: {seeds}. Commit: {commits}. File: `{file.name}`."
    return "\n".join(
        ["", f"## {content['title']}", "", origin, "", *lines, "", *_commands(content), ""]
    )


def _commands(content: dict[str, Any]) -> list[str]:
    """Returns a code block with the command of every row that has values, each command once."""
    rows_of: dict[str, list[str]] = {}
    for row in content["rows"]:
        if row["ours"]:
            rows_of.setdefault(row["command"], []).append(row["row"])
    lines = [line for text, rows in rows_of.items() for line in (f"# {'; '.join(rows)}", text)]
    return ["```bash", *lines, "```"]


if __name__ == "__main__":
    raise SystemExit(main())
