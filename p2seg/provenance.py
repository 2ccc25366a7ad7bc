"""What a result says about where it comes from."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that decide results, and the commit of a checkout of p2seg."""
    names = ("p2seg", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["commit"] = commit()
    return found


def commit() -> str:
    """The commit of the checkout this package runs from, with `-dirty`; "" outside of one."""
    home = Path(__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return ""
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return answer.stdout.strip()
