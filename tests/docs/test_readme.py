"""README: short, its links and commands exist, and its own blocks run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
TUTORIAL = ROOT / "docs" / "tutorials" / "your_photos.md"
NUCLEI = ROOT / "p2seg" / "demo" / "nuclei"
BY_HAND = {
    "python3 -m venv": "makes an environment",
    "p2seg annotate": "waits for a browser",
    "p2seg review": "waits for a browser",
    "p2seg prepare_demo": "the test has its own photos",
    "cp -rL": "the test has its own photos",
    "p2seg masks photos --method sam": "needs the weights of SAM",
    "python tools/": "needs VOC 2012",
}
"""Beginnings of blocks that a test cannot run, with the reason."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def test_it_is_short_and_says_first_what_it_is():
    assert len(TEXT.splitlines()) <= 150
    assert "independent reimplementation" in " ".join(TEXT.split()[:80]).replace("*", "")
    assert "arxiv.org/abs/2401.09709" in TEXT[:300]


def test_its_links_and_pictures_are_there():
    targets = [each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", TEXT)]
    own = {each for each in targets if each and "://" not in each}
    assert len(own) > 5
    assert [each for each in sorted(own) if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("folder", ["tools", "scripts"])
def test_its_commands_are_there(folder):
    named = set(re.findall(rf"\b{folder}/[\w/]+\.(?:py|sh)", TEXT))
    assert named
    assert [each for each in sorted(named) if not (ROOT / each).is_file()] == []


def pages() -> list[Path]:
    return [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda each: each.name)
def test_commands_can_be_pasted_into_zsh_too(page):
    """No unquoted bracket, a pattern in zsh, and no variable, which zsh does not split."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            unquoted = re.sub(r"'[^']*'|\"[^\"]*\"|(^|\s)#.*", "", line)
            assert not re.search(r"[\[\]]|\$\w", unquoted), line


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_can_parse_every_block(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    text = "\n".join(block for page in pages() for block in blocks(page, "bash"))
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_documents_that_the_sources_name_are_there():
    """Comments, docstrings and messages name pages of docs/."""
    files = [ROOT / "pyproject.toml", *ROOT.glob("CHANGELOG.md")]
    for folder in ("p2seg", "configs", "scripts", "devtools", "tests"):
        files += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in (".py", ".yaml", ".sh") and "hostile" not in path.parts
        ]
    missing = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in re.findall(r"\bdocs/[\w/-]+\.(?:md|ipynb)", file.read_text("utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []


def has_plain_commands() -> bool:
    words = [sys.executable, "-m", "p2seg", "masks", "--help"]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture
def home(tmp_path) -> Path:
    """Three small micrographs in `photos`, one point per nucleus in `clicks.csv`, new photos."""
    truth = json.loads((NUCLEI / "instances_train.json").read_text("utf-8"))
    counts = {each["id"]: 0 for each in truth["images"]}
    for each in truth["annotations"]:
        counts[each["image_id"]] += 1
    small = sorted((n, k) for k, n in counts.items() if n >= 5)[:4]
    names = {each["id"]: each["file_name"] for each in truth["images"]}
    for folder in ("photos", "new_photos"):
        (tmp_path / folder).mkdir()
    for _, k in small[:3]:
        shutil.copy(NUCLEI / "images" / names[k], tmp_path / "photos")
    shutil.copy(NUCLEI / "images" / names[small[3][1]], tmp_path / "new_photos")
    kept = {k for _, k in small[:3]}
    lines = ["file,x,y,label"]
    for each in truth["annotations"]:
        if each["image_id"] in kept:
            x, y, width, height = each["bbox"]
            middle = f"{int(x + width / 2)},{int(y + height / 2)}"
            lines.append(f"{names[each['image_id']]},{middle},nucleus")
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "nuclei").mkdir()
    truth["images"] = [each for each in truth["images"] if each["id"] in kept]
    truth["annotations"] = [each for each in truth["annotations"] if each["image_id"] in kept]
    (tmp_path / "nuclei" / "instances_train.json").write_text(json.dumps(truth))
    shutil.copy(next((tmp_path / "new_photos").iterdir()), tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [README, TUTORIAL], ids=["README", "tutorial"])
def test_the_blocks_of_the_quick_start_run(page, home, monkeypatch):
    """All commands in their order, in one folder, as they stand; then the Python of README."""
    if not has_plain_commands():
        pytest.skip("p2seg masks does not exist yet")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ran = 0
    for block in blocks(page, "bash"):
        if block.startswith(tuple(BY_HAND)):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            assert line.startswith("p2seg "), line
            words = [sys.executable, "-m", *shlex.split(line)]
            done = subprocess.run(words, cwd=home, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            ran += 1
    assert ran >= 5
    assert (home / "photos_masks" / "masks.json").is_file()
    for block in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=home, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
