"""Every error message of p2seg, read from the code for the documentation.

The messages are found by walking the source, so that none is missing. Each value that a message
contains is replaced by a placeholder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("p2seg", "tools", "scripts", "devtools")
OPEN, CLOSE = "\ue000", "\ue001"
"""Around a placeholder: two characters that no sentence has."""

REMEDIES = "(?:give|take|make|run|choose|check|save|split|leave|pip install) "
"""What a remedy begins with behind a colon."""

UNSAID = "\u2026"
"""A placeholder that the code has no noun for."""

# Functions that make a sentence in other ways than by raising it.
GIVE_SENTENCES = {
    "p2seg/cli/mistakes.py": ("sentence_of", "_of_hydra", "_of_omegaconf", "_unknown_key"),
    "p2seg/cli/entry.py": ("run",),
    "p2seg/cli/main.py": ("_unknown",),
    "p2seg/errors.py": ("refusal",),
    "p2seg/engine/finite.py": ("_sentence",),
}
SAME = frozenset(("shown", "_shown", "_in_yaml", "str", "repr", "len", "list", "sorted", "type"))
"""Functions that show what they are given."""

TOPICS = {
    "Commands and settings": "Unknown settings, and values that are not allowed.",
    "Files and disks": "JSON files, folders, permissions, space on the disk, and two commands "
    "with one output.",
    "Images and videos": "Images that cannot be read, or have an unexpected size.",
    "Points": "The points file, and points at impossible positions.",
    "Files of labeling tools": "Import and export: LabelMe, CVAT, Label Studio and others.",
    "The pages": "`p2seg annotate` and `p2seg gallery`, and the review file.",
    "Initial semantic maps": "Maps by GrabCut or of other methods, and their class map.",
    "Promptable models": "SAM, its checkpoint, and its masks for each point.",
    "Instances and masks": "Ground truth and pseudo masks: annotations, polygons, run lengths.",
    "Checkpoints and weights": "Files of weights that are damaged, or do not match the network.",
    "Training and processes": "Resumed runs, ranks, devices and memory.",
    "Segmentation models": "Mask R-CNN, SOLOv2, Mask2Former, and files for other runtimes.",
    "Predictions and scores": "Comparisons with ground truth, and figures.",
    "Preparing data sets": "VOC, SBD, COCO, the drawn set, downloads, scripts and `devtools/`.",
}
"""The topics of the messages, in the order of the work."""

_OF_FILES = (
    (
        r"p2seg/formats/|p2seg/cli/(click_files|import_points|export_points|masks_job|export_masks)",
        4,
    ),
    (r"p2seg/apps/(annotate|gallery)/|p2seg/pseudo/review|p2seg/cli/(annotate|gallery)", 5),
    (r"p2seg/(semantic)/|p2seg/data/(maps|labels)\.py", 6),
    (r"p2seg/sam/|p2seg/cli/(labeler|candidates)\.py", 7),
    (r"p2seg/data/(images|video|preflight|sources)\.py|p2seg/semantic/arrays", 2),
    (r"p2seg/data/(points|dataset)\.py|p2seg/apps/validate/|p2seg/cli/(make_points|validate)", 3),
    (
        r"p2seg/data/(coco|rle|instances|compact_lists|records|schema|coco_reader)\.py|p2seg/pseudo/",
        8,
    ),
    (r"p2seg/engine/(checkpoint|state|finite)\.py|weights\.py|p2seg/models/", 9),
    (r"p2seg/(runtime/(?!files|json_streams|temporary|settings)|ops/|method/|engine/)", 10),
    (r"p2seg/segmentors/|p2seg/cli/(segmentor|train_segmentor|export|predict)", 11),
    (r"p2seg/evaluation/|p2seg/apps/report/|p2seg/cli/(eval|figures|visualize)\.py", 12),
    (
        r"p2seg/data/sets/|p2seg/cli/prepare|^(scripts|devtools)/",
        13,
    ),
    (
        r"p2seg/(runtime/(files|temporary)|errors|data/json_lists|cli/(claims|outputs|provenance))\.py",
        1,
    ),
)


@dataclass(frozen=True)
class Message:
    """One sentence.

    Attributes:
        text: of it, placeholders between `OPEN` and `CLOSE`.
        file: the source it is in, from the root of the repository.
        line: of that file, from 1.
    """

    text: str
    file: str
    line: int

    @property
    def topic(self) -> str:
        """The one of `TOPICS` that the sentence belongs to."""
        names = list(TOPICS)
        return next((names[k] for rule, k in _OF_FILES if re.search(rule, self.file)), names[0])

    @property
    def parts(self) -> tuple[str, str]:
        """What was seen, and what would do: what comes after the sentence's first break."""
        found = re.search(rf"; |: (?={REMEDIES})", self.text)
        seen = self.text[: found.start()] if found else self.text
        said = re.sub(f"{OPEN}[^{CLOSE}]*{CLOSE}", "", seen)  # an open one stays
        if not found or OPEN in said or not re.search(r"\w", said):
            return self.text, ""
        return self.text[: found.start()], self.text[found.end() :]


def all_messages() -> list[Message]:
    """Every sentence once, in the order of the files; where two are alike the first one."""
    known: dict[str, Message] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for message in messages_of(path.read_text("utf-8"), path.relative_to(ROOT).as_posix()):
                known.setdefault(message.text, message)
    return list(known.values())


def messages_of(source: str, file: str) -> Iterator[Message]:
    """The sentences of one file, line by line.

    Args:
        source: Python code.
        file: its name, from the root of the repository.
    """
    tree = ast.parse(source)
    constants = _imported(tree, file) | _constants(tree)
    found = [*_raised(tree), *_given(tree, GIVE_SENTENCES.get(file, ()))]
    for node in sorted(found, key=lambda each: (each.lineno, each.col_offset)):
        text = " ".join(_text(node, constants).split())
        if re.search(r"\w", re.sub(f"{OPEN}.*?{CLOSE}", "", text)):  # not a sentence handed on
            yield Message(text, file, node.lineno)


def _raised(tree: ast.Module) -> Iterator[ast.expr]:
    """What `UserError`, or an error that is one, is made of."""
    names = {"UserError", "Damaged"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            own = node.func.id in names
            refused = node.func.id in ("refuse", "_say")
            if own or (refused and isinstance(node.args[0], ast.JoinedStr)):
                yield node.args[0]


def _given(tree: ast.Module, functions: tuple[str, ...]) -> Iterator[ast.expr]:
    """What functions return or say that make sentences, and the tables they take them from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            for each in ast.walk(node):
                given = isinstance(each, ast.Return) and isinstance(
                    each.value, ast.JoinedStr | ast.BinOp
                )
                said = (
                    isinstance(each, ast.Call)
                    and isinstance(each.func, ast.Name)
                    and each.func.id == "_say"
                    and isinstance(each.args[0], ast.Constant)
                )
                if given:
                    yield each.value  # type: ignore[attr-defined]
                elif said:
                    yield each.args[0]  # type: ignore[attr-defined]
        if functions and isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            yield from (each for each in node.value.values if isinstance(each, _TEXTS))


_TEXTS = (ast.Constant, ast.JoinedStr)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Names of the module that stand for a text or a number."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr):
            found |= {each.id: node.value for each in node.targets if isinstance(each, ast.Name)}
    return found


def _imported(tree: ast.Module, file: str) -> dict[str, ast.expr]:
    """Those that the module takes from others of ours."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = ROOT / (node.module.replace(".", "/") + ".py")
            beside = (ROOT / file).parent / f"{node.module}.py"
            for path in filter(Path.is_file, (inside, beside)):
                known = _constants(ast.parse(path.read_text("utf-8")))
                names = (each.name for each in node.names)
                found |= {name: known[name] for name in names if name in known}
    return found


def _text(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """The text of an expression, with a placeholder for each part that is not known."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(each, constants) for each in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, constants)
    if isinstance(node, ast.BinOp) and (_is_text(node.left) or _is_text(node.right)):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.IfExp):
        texts = (_text(node.body, constants), _text(node.orelse, constants))
        if all(isinstance(each, _TEXTS) for each in (node.body, node.orelse)):
            return " or ".join(filter(None, texts)) if all(texts) else next(filter(None, texts), "")
    if isinstance(node, ast.Name) and node.id in constants:
        return _text(constants[node.id], constants)
    return f"{OPEN}{_noun(node)}{CLOSE}"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _noun(node: ast.expr) -> str:
    """What a placeholder is called: the last name of the expression."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").replace("_", " ").lower()
    if isinstance(node, ast.Attribute):
        plain = node.attr in ("name", "id", "size", "shape", "dtype", "stem", "args")
        own = node.attr.replace("_", " ").strip()
        return f"{_noun(node.value)}'s {own}" if plain else own
    if isinstance(node, ast.Subscript):
        return _noun(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in SAME and node.args:
            return _noun(node.args[0])
        if isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
            return f"{_noun(node.args[0])}, .."
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _noun(node.generators[0].iter)
    if isinstance(node, ast.BinOp):
        return _noun(node.left)
    return UNSAID


@cache
def by_topic() -> dict[str, list[Message]]:
    """The sentences of each topic, in the topics' order; topics without any are left out."""
    every = all_messages()
    sorted_ = {topic: [each for each in every if each.topic == topic] for topic in TOPICS}
    return {topic: own for topic, own in sorted_.items() if own}
