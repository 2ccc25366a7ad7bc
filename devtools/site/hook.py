"""A hook of MkDocs (mkdocs.yml): the pages that are made of the code, and links that fit the site.

Pages in `docs/` link as they must on GitHub; here links into the repository become links to pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from devtools.site.reference import (
    base_page,
    experiments_page,
    group_page,
    messages_page,
    notebook_page,
    scripts_page,
    tool_page,
    tools_page,
)
from devtools.site.settings import ROOT, groups, tool_names

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
OF_THE_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
OFFLINE = "assets/search-from-disk.js"


def generated() -> dict[str, Callable[[], str]]:
    """The pages that are made, by their paths in the site, in the order of the menu."""
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
        "notebook.md": lambda: notebook_page(NOTEBOOK),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes the menu."""
    config.nav = _complete(config.nav or [])
    config.extra["polyfills"] = [OFFLINE]  # the plugin `offline` names one that is fetched
    return config


def _complete(nav: list[Any]) -> list[Any]:
    """The menu: `reference/` becomes the tools' pages, `reference/config-` the groups'."""
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
    """Adds the pages that are made."""
    for path, make in generated().items():
        files.append(File.generated(config, path, content=make()))
    for path, source in OF_THE_ROOT.items():
        text = (ROOT / source).read_text("utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links into the repository into links to the pages that are made of it."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # of itself alone
    # a mean and its spread stay together, or tables break between them
    markdown = re.sub(
        r"^\|.*±.*", lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), markdown, flags=re.M
    )
    up = "../" * page.file.src_uri.count("/")
    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", lambda each: _link(each, up), markdown)


def _link(found: re.Match[str], up: str) -> str:
    text, target = found.groups()
    if target == "tutorial.ipynb" and text != NOTEBOOK.name:
        return f"[{text}]({up}notebook.md)"
    if not target.startswith("../") or up:
        return found[0]
    path, _, place = target[3:].partition("#")
    page = _page_of(path.rstrip("/"))
    if page is None:
        return text  # a file of the repository, which the site does not have
    return f"[{text}]({page}{'#' + place if place and '#' not in page else ''})"


def _page_of(path: str) -> str | None:
    """The page that is made of a file or folder of the repository."""
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
    """Lets the search of a page run that was opened from disk: browsers start no worker of a file.

    Its program is put into the page as text, and the worker is made of that.
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
