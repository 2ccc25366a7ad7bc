"""What the README names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_links_and_pictures_are_there():
    targets = [each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", TEXT)]
    own = {each for each in targets if each and "://" not in each}
    assert len(own) > 5
    assert [each for each in sorted(own) if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("folder", ["tools", "scripts", "devtools"])
def test_its_commands_are_there(folder):
    named = set(re.findall(rf"\b{folder}/[\w/]+\.(?:py|sh)", TEXT))
    assert named
    assert [each for each in sorted(named) if not (ROOT / each).is_file()] == []
