"""The site: nothing of the code is missing in it, its links hold, nothing is fetched."""

from __future__ import annotations

import ast
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from devtools.site.messages import CLOSE, OPEN, messages_of

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning ends the build."""
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def shown(page: Path) -> str:
    """What a page shows, on one line."""
    body = page.read_text("utf-8").partition("<article")[2].partition("</article>")[0]
    plain = re.sub(r"<[^>]+>", "", body.replace("</td>", " | "))
    return " ".join(html.unescape(plain).split())


def test_every_tool_has_its_page(site):
    tools = {path.stem for path in (ROOT / "tools").glob("[!_]*.py")}
    overview = (site / "reference" / "index.html").read_text("utf-8")
    for name in tools:
        own = ROOT / "p2seg" / "cli" / f"{name}.py"
        source = (own if own.is_file() else ROOT / "tools" / f"{name}.py").read_text("utf-8")
        first = ast.get_docstring(ast.parse(source)).splitlines()[0].split("`")[0]
        assert first in shown(site / "reference" / f"{name}.html")
        assert f'<td><a href="{name}.html"><code>{name}</code></a></td>' in overview


def test_the_python_interface_is_there_with_its_arguments(site):
    page = shown(site / "reference" / "python.html")
    for part in ("p2seg.load", "max_objects", "Raises", "method.rounds", "Hadamard power"):
        assert part in page, part
    assert ":::" not in page


def leaves(node: yaml.MappingNode, prefix: str) -> list[tuple[str, str]]:
    """Keys and values as the file has them, read without the code of the documentation."""
    found = []
    for key, value in node.value:
        if isinstance(value, yaml.MappingNode) and value.value:
            found += leaves(value, f"{prefix}{key.value}.")
        else:
            text = value.start_mark.buffer[value.start_mark.index : value.end_mark.index]
            found.append((prefix + key.value, " ".join(text.split())))
    return found


def written_in(path: Path) -> list[tuple[str, str]]:
    text = path.read_text("utf-8")
    root = yaml.compose(text + "\n")
    root.value = [each for each in root.value if each[0].value not in ("defaults", "hydra")]
    home = path.parent.relative_to(CONFIGS).as_posix()
    is_global = home == "." or text.startswith("# @package _global_")
    return leaves(root, "" if is_global else f"{home}.")


def page_of(site: Path, path: Path) -> Path:
    home = path.parent.name
    names = {"configs": path.stem, "exp": "exp"}
    return site / "reference" / f"{names.get(home, f'config-{home}')}.html"


@pytest.mark.parametrize("home", ["", *sorted(p.name for p in CONFIGS.iterdir() if p.is_dir())])
def test_every_setting_is_there_with_its_default(site, home):
    found = 0
    for path in (CONFIGS / home).glob("*.yaml"):
        page = shown(page_of(site, path))
        for key, value in written_in(path):
            assert f"{key} | {value} |" in page, (path.name, key)
            found += 1
    assert found


def test_comments_go_along(site):
    assert "mdm.beta | 3.0 | Hadamard power of the affinity" in shown(
        site / "reference" / "config-mdm.html"
    )
    # of the line below it, of a file that this one takes, and of the docstring of what is made
    assert "stores the result." in shown(site / "reference" / "gen_semantic.html")
    assert "long_side | 512 | maximum of the long side" in shown(
        site / "reference" / "config-segmentor.html"
    )
    assert "box_channels | 128 | channels of the box head." in shown(
        site / "reference" / "config-segmentor.html"
    )
    assert "seed | 0 | random seed; an integer" in shown(site / "reference" / "base.html")


def raised() -> list[tuple[str, list[str]]]:
    """The literal parts of every sentence that is raised, found by another walk than the page's."""
    found = []
    for folder in ("p2seg", "tools", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
                    parts = [
                        each.value
                        for each in ast.walk(node.args[0])
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    ]
                    found.append((f"{path.name}:{node.lineno}", parts))
    return found


def test_every_sentence_is_there(site):
    page = shown(site / "reference" / "messages.html")
    plain = re.sub(r"[\s;:]+", " ", page)
    sentences = raised()
    assert len(sentences) > 300
    for where, parts in sentences:
        for part in parts:
            words = re.sub(r"[\s;:]+", " ", part).strip()
            if len(words) > 12:  # shorter ones are separators and names inside placeholders
                assert words in plain, where


def test_no_name_of_the_code_stands_for_a_sentence(site):
    page = (site / "reference" / "messages.html").read_text("utf-8")
    heads = re.findall(r'<h4 id="message-\d+">(.*?)</h4>', page)
    assert len(heads) == page.count('<div class="message">')
    for head in heads:
        assert re.search(r"[a-z]{2}", re.sub(r"<var>.*?</var>", "", head)), head


def test_a_placeholder_and_a_remedy():
    source = """
MOST = 4
def check(path, value):
    raise UserError(
        f"map {path} has {shown(value)} of {MOST}{' or more' if value else ''}; give it anew"
    )
"""
    (message,) = messages_of(source, "p2seg/semantic/new.py")
    path, value = f"{OPEN}path{CLOSE}", f"{OPEN}value{CLOSE}"
    assert message.parts == (f"map {path} has {value} of 4 or more", "give it anew")
    assert message.topic == "Initial semantic maps"


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        for address in re.findall(r'(?:src|href)="(//[^"]*|https?:[^"]*)"', text):
            tag = text[: text.index(address)].rpartition("<")[2]
            assert tag.startswith("a "), (page.name, address)  # a link, which waits for a click
    assert "@import" not in "".join(each.read_text("utf-8") for each in site.rglob("*.css"))


def test_every_document_is_in_the_menu(site):
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs")
        assert re.search(rf": {name.as_posix()}\b", listed), name
        assert (site / name.with_suffix(".html")).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda each: each.name)
def test_links_hold_on_github_too(path):
    """Without the site: a link names a file of the repository."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place = target.partition("#")[0]
        if place and not re.match(r"[a-z]+:", target):
            assert (path.parent / place).exists(), target


def test_the_page_of_the_notebook_has_its_cells(site):
    notebook = json.loads((ROOT / "docs" / "tutorials" / "notebook.ipynb").read_text("utf-8"))
    page = shown(site / "tutorials" / "notebook.html")
    for cell in notebook["cells"]:
        for line in cell["source"]:
            if cell["cell_type"] == "code" and line.strip():
                assert " ".join(line.split()) in page, line


def test_the_search_starts_from_disk(site):
    """Browsers start no worker of a file: its program stands in a script."""
    script = (site / "assets" / "search-from-disk.js").read_text("utf-8")
    (worker,) = (site / "assets" / "javascripts" / "workers").glob("*.js")
    start = worker.read_text("utf-8")[:200]
    assert json.dumps(start)[1:-1] in script
    assert "search-from-disk.js" in (site / "index.html").read_text("utf-8")


def test_pages_work_from_disk_in_a_browser(site, page):
    """Opened as files: the search finds, nothing is asked of the internet, no page is too wide."""
    page.set_viewport_size({"width": 400, "height": 800})
    reference = ("reference/messages", "reference/base", "reference/files")
    results = ("explanation/tables", "developers/experiments")
    for name in ("index", "tutorials/your_photos", *results, *reference):
        page.goto((site / f"{name}.html").as_uri())
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, name
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto((site / "reference" / "index.html").as_uri())
    page.fill(".md-search__input", "pickle np.save")
    first = page.locator(".md-search-result__item").first
    first.wait_for(timeout=10_000)
    assert "is a pickle (np.save of a dict)" in first.inner_text()
