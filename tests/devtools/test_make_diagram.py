"""The committed diagram is the one that its script makes."""

from __future__ import annotations

from xml.etree import ElementTree

from devtools import make_diagram


def test_the_committed_diagram_is_the_one_of_the_script():
    made = make_diagram.diagram()
    assert make_diagram.FILE.read_text("utf-8") == made, "run python devtools/make_diagram.py"


def test_no_text_is_wider_than_its_box():
    """About 7 px per letter at 13 px, and 9 px in the bold titles."""
    root = ElementTree.fromstring(make_diagram.diagram())
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    titles = {title for _, _, _, title, _ in make_diagram.BOXES}
    for text in texts:
        assert len(text) * (9 if text in titles else 7) <= make_diagram.BOX[0], text
