"""A hook of MkDocs (mkdocs.yml): adds the generated pages and rewrites links for the site.

Pages in `docs/` have links that work on GitHub. A link to another file of the repository becomes a
link to the page that is generated from that file.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from devtools.site.notebook import notebook_page
from devtools.site.reference import (
    base_page,
    experiments_page,
    group_page,
    messages_page,
    scripts_page,
    tool_page,
    tools_page,
)
from devtools.site.settings import ROOT, groups, tool_names

NOTEBOOK = ROOT / "docs" / "tutorials" / "notebook.ipynb"
OF_THE_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
OFFLINE = "assets/search-from-disk.js"


def generated() -> dict[str, Callable[[], str]]:
    """The generated pages by their paths in the site, in the order of the menu."""
    pages: dict[str, Callable[[], str]] = {"reference/index.md": tools_page}
    for name in tool_names():
        pages[f"reference/{name}.md"] = lambda name=name: tool_page(name)  # type: ignore[misc]
    pages["reference/base.md"] = base_page
    for name in groups():
        pages[f"reference/config-{name}.md"] = lambda name=name: group_page(name)  # type: ignore[misc]
    return pages | {
        "reference/exp.md": experiments_page,
        "reference/scripts.md": scripts_page,
        "reference/messages.md": messages_page,
        "tutorials/notebook.md": lambda: notebook_page(NOTEBOOK),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes the menu."""
    config.nav = _complete(config.nav or [])
    config.extra["polyfills"] = [OFFLINE]  # the plugin `offline` names one that is fetched
    return config


def _complete(nav: list[Any]) -> list[Any]:
    """The menu with one entry per tool and per group."""
    found: list[Any] = []
    for entry in nav:
        ((title, value),) = entry.items()
        if isinstance(value, list):
            found.append({title: _complete(value)})
        elif value == "reference/TOOL.md":
            found += [{name: f"reference/{name}.md"} for name in tool_names()]
        elif value == "reference/config-GROUP.md":
            found += [{name: f"reference/config-{name}.md"} for name in groups()]
        else:
            found.append(entry)
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for path, make in generated().items():
        files.append(File.generated(config, path, content=make()))
    for path, source in OF_THE_ROOT.items():
        text = (ROOT / source).read_text("utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links into the repository into links to the pages that are generated from it."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # of the home page alone
    # a mean and its spread stay together, or tables break between them
    markdown = re.sub(
        r"^\|.*±.*", lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), markdown, flags=re.M
    )
    folder = posixpath.dirname(page.file.src_uri)
    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", lambda each: _link(each, folder), markdown)


def _link(found: re.Match[str], folder: str) -> str:
    """A link of a page in a folder of `docs/`, as the site needs it."""
    text, target = found.groups()
    path, _, place = target.partition("#")
    if not path or ":" in path:
        return found[0]
    inside = posixpath.normpath(posixpath.join("docs", folder, path))
    if inside == NOTEBOOK.relative_to(ROOT).as_posix() and text != NOTEBOOK.name:
        page: str | None = "tutorials/notebook.md"
    elif inside.startswith("docs/"):
        return found[0]
    else:
        page = _page_of(inside)
    if page is None:
        return text  # the site does not have this file of the repository
    page = posixpath.relpath(page, folder or ".")
    return f"[{text}]({page}{'#' + place if place and '#' not in page else ''})"


def _page_of(path: str) -> str | None:
    """The page that is generated from a file or folder of the repository."""
    for page, source in OF_THE_ROOT.items():
        if path == source:
            return page
    tool = re.fullmatch(r"(?:tools/(\w+)\.py|configs/(\w+)\.yaml)", path)
    if tool:
        name = tool[1] or tool[2]
        return f"reference/{name}.md"
    group = re.fullmatch(r"configs/(\w+)(?:/(\w+)\.yaml)?", path)
    if group:
        home = "exp" if group[1] == "exp" else f"config-{group[1]}"
        place = f"#{group[2].strip('_')}" if group[2] else ""
        return f"reference/{home}.md{place}"
    known = {"tools": "index", "configs": "index", "scripts": "scripts", "p2seg": "messages"}
    return f"reference/{known[path]}.md" if path in known else None


def on_post_build(config: MkDocsConfig) -> None:
    """Lets the search run on a page that was opened from disk.

    Browsers start no worker from a file. So the program is put into the page as text, and the
    worker is created from the text.
    """
    site = Path(config.site_dir)
    (program,) = (site / "assets" / "javascripts" / "workers").glob("search.*.min.js")
    text = json.dumps(program.read_text("utf-8").split("//# sourceMappingURL")[0])
    script = f"""if (location.protocol === "file:") {{
  const program = {text.replace("</", "<" + chr(92) + "/")};
  const Plain = window.Worker;
  window.Worker = class extends Plain {{
    constructor() {{
      super(URL.createObjectURL(new Blob([program], {{ type: "text/javascript" }})));
    }}
  }};
}}
"""
    (site / OFFLINE).write_text(script, "utf-8")
