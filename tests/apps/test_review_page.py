"""`p2seg review` in a browser: decisions go to the folder of the masks, not to the downloads."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import numpy as np
from browser_sets import browser, page  # noqa: F401
from PIL import Image

from p2seg.cli.main import main


def test_decisions_are_saved_in_the_folder_of_the_masks(page, tmp_path, monkeypatch, capfd):  # noqa: F811
    y, x = np.mgrid[:60, :90]
    image = 30 + 150 * (((y - 30) ** 2 + (x - 25) ** 2 < 90) | ((y - 30) ** 2 + (x - 60) ** 2 < 90))
    (tmp_path / "photos").mkdir()
    Image.fromarray(image.astype(np.uint8)).convert("RGB").save(tmp_path / "photos" / "a.png")
    (tmp_path / "clicks.csv").write_text("image,x,y,class\na.png,25,30,cell\na.png,60,30,cell\n")
    monkeypatch.chdir(tmp_path)
    assert main(["import", "clicks.csv", "--images", "photos"]) == 0
    assert main(["masks", "photos"]) == 0
    capfd.readouterr()
    words = [sys.executable, "-m", "p2seg", "review", "photos_masks", "--port", "0", "--no-browser"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = (re.search(r"open (http://\S+)", line) for line in process.stdout)
            page.goto(next(filter(None, found))[1])
            page.wait_for_selector("#save")
            page.keyboard.press("x")
            page.keyboard.press("s")
            said = "review.json holds 1 decisions"
            while said not in page.evaluate("document.body.textContent"):
                page.wait_for_timeout(50)
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
    assert "p2seg masks photos applies photos_masks/review.json" in rest
    [decision] = json.loads((tmp_path / "photos_masks" / "review.json").read_text())["decisions"]
    assert decision["decision"] == "reject"
    assert page.faults == []
    assert main(["masks", "photos"]) == 0
    assert json.loads((tmp_path / "photos_masks" / "summary.json").read_text())["review_applied"]
