"""Pages that are generated from the code: commands, configs, scripts, messages, the notebook.

Each function returns the Markdown of one page; `hook.py` adds the pages to the site.
"""

from __future__ import annotations

import ast
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devtools.site.markdown import code, escaped, piped, plain
from devtools.site.messages import CLOSE, OPEN, TOPICS, Message, by_topic
from devtools.site.settings import (
    CONFIGS,
    ROOT,
    Setting,
    commented,
    experiments,
    groups,
    read_config,
    tool_names,
)

OF_THE_CODE = "---\nsearch:\n  boost: 0.6\n---\n\n"
"""Front matter: pages that people wrote come first in a search."""

EXIT_CODES = {
    0: "finished, or nothing was left to do",
    2: "a mistake in the command or in a file: one sentence says what and where",
    75: "stopped by a signal (SIGTERM, SIGUSR1, SIGHUP): files are complete, the command resumes",
    130: "stopped by Ctrl-C: files are complete, and the same command resumes",
    1: "another process of the run has ended, or a bug of p2seg, with its traceback",
}
USES = {
    "gen_semantic": ("data", "semantic"),
    "train": ("data", "model", "mdm", "optim", "trainer"),
    "gen_pseudo": ("data", "model", "mdm"),
    "train_segmentor": ("data", "segmentor"),
    "make_points": ("data",),
}
"""Groups that decide what a command does, if its own file does not."""
CLI = ROOT / "p2seg" / "cli"
STARTS = ("p2seg ", "python ", "./scripts/", "torchrun ")
"""Beginnings of a command line in a docstring."""


def tools_page() -> str:
    """The experiment commands in a table, and their common options."""
    first = {name: " ".join(_head(name)[0].split("\n\n")[0].split()) for name in tool_names()}
    rows = (f"| [`{name}`]({name}.md) | {escaped(told)} |" for name, told in first.items())
    codes = (f"| {code} | {escaped(told)} |" for code, told in EXIT_CODES.items())
    return "\n".join(
        (
            "# Experiment commands",
            "An experiment command is `p2seg NAME key=value ...`; in a checkout "
            "`python tools/NAME.py` is the same. It has its own settings, those of "
            "[`base.yaml`](base.md), and those of the groups below. `--cfg job` prints all "
            "settings with their values, `--help` lists those of the command, and `--help-all` all "
            "of them. `p2seg demo` and the "
            "commands that prepare data sets have [options](scripts.md) instead. `+exp=NAME` "
            "selects an [experiment](exp.md), `GROUP=NAME` another file of a group, and "
            "`-m key=1,2,3` runs a command several times. An unknown setting is rejected.",
            "",
            "| command | what it does |",
            "| --- | --- |",
            *rows,
            "",
            "## Groups of settings",
            "",
            "| group | files |",
            "| --- | --- |",
            *(
                f"| [`{name}`](config-{name}.md) | "
                + ", ".join(f"`{path.stem}`" for path in paths if path.stem[0] != "_")
                + " |"
                for name, paths in groups().items()
            ),
            f"| [`exp`](exp.md) | {', '.join(f'`{path.stem}`' for path in experiments())} |",
            "",
            "## Exit codes",
            "",
            "| code | meaning |",
            "| --- | --- |",
            *codes,
            "",
        )
    )


def tool_page(name: str) -> str:
    """One command: its docstring, its own settings, its exit codes."""
    config = read_config(CONFIGS / f"{name}.yaml")
    base = commented(read_config(CONFIGS / "base.yaml"))
    section = next((each.key for each in base if f"p2seg {name})" in each.comment), "no section")
    own = [*commented(config), *(each for each in base if each.key.startswith(f"{section}."))]
    uses = " and ".join(f"[`{group}`](config-{group}.md)" for group in USES.get(name, ()))
    told, commands = _head(name)
    return OF_THE_CODE + "\n".join(
        (
            f"# {name}",
            "",
            plain(told),
            "",
            *(("```bash", commands, "```", "") if commands else ()),
            *(_comment(config.head) if config.head else ()),
            "## Its own settings",
            "",
            *(_table(own) if own else ("None; [all commands](base.md) have the same ones.",)),
            "",
            *((f"Its main settings are those of {uses}.", "") if uses else ()),
            "`???` means that you must set a value. The other settings are in "
            "[base.yaml](base.md) and in the [groups](index.md#groups-of-settings). All commands "
            "have the same [exit codes](index.md#exit-codes).",
            "",
        )
    )


def base_page() -> str:
    """The settings of all commands."""
    config = read_config(CONFIGS / "base.yaml")
    taken = (each for each in config.takes if not each.startswith("hydra/"))
    return OF_THE_CODE + "\n".join(
        (
            "# base.yaml",
            "",
            *_comment(config.head),
            "Default files of the groups: " + ", ".join(f"`{each}`" for each in taken) + ".",
            "",
            *_table(commented(config)),
            "",
        )
    )


def group_page(name: str) -> str:
    """The files of a group, each with its settings."""
    parts = [f"# {name}", ""]
    for path in groups()[name]:
        shared = path.stem[0] == "_"
        title = f"Common settings: {path.stem}" if shared else f"{name}={path.stem}"
        parts += [f"## {title} {{ #{path.stem.strip('_')} }}", "", *_body(path)]
    return OF_THE_CODE + "\n".join(parts)


def experiments_page() -> str:
    """The experiments with their settings."""
    parts = [
        "# Experiments",
        "",
        "Select one with `+exp=NAME`, or several with `'+exp=[NAME,OTHER]'`. Its settings replace "
        "those of all other files.",
        "",
    ]
    for path in experiments():
        parts += [f"## +exp={path.stem} {{ #{path.stem} }}", "", *_body(path)]
    return OF_THE_CODE + "\n".join(parts)


def scripts_page() -> str:
    """Commands with options, and Python scripts: their docstrings and options."""
    parts = ["# Commands with options, and scripts", ""]
    commands_of_options = [CLI / "demo.py", *sorted(CLI.glob("prepare_*.py"))]
    moved = {path.name for path in commands_of_options}
    scripts = [
        each
        for folder in ("scripts", "devtools")
        for each in sorted((ROOT / folder).glob("[!_]*.py"))
        if '__name__ == "__main__"' in each.read_text("utf-8") and each.name not in moved
    ]
    for path in (*commands_of_options, *scripts):
        tree = ast.parse(path.read_text("utf-8"))
        told, commands = _split(ast.get_docstring(tree) or "")
        title = f"p2seg {path.stem}" if path.parent == CLI else path.relative_to(ROOT).as_posix()
        parts += [f"## {title}", "", plain(told), ""]
        parts += ["```bash", commands, "```", ""] if commands else []
        options = list(_options(tree))
        if options:
            parts += ["| option | default | meaning |", "| --- | --- | --- |", *options, ""]
    return OF_THE_CODE + "\n".join(parts)


def messages_page() -> str:
    """Every error message, by topic."""
    parts = [
        "# Messages",
        "",
        "Every error message of p2seg, generated from the code. The first line says what is "
        "wrong, and the second what to do. Words in italics are replaced by names and values. "
        "Search for a few words of your message. [Improve masks](../how-to/improve.md) has "
        "symptoms without a message.",
        "",
    ]
    number = 0
    for topic, messages in by_topic().items():
        parts += [f"## {topic}", "", TOPICS[topic], ""]
        for message in messages:
            number += 1
            parts += [_message(message, number), ""]
    return OF_THE_CODE.replace("0.6", "0.5") + "\n".join(parts)


def _message(message: Message, number: int) -> str:
    seen, remedy = (_with_variables(each) for each in message.parts)
    lines = ['<div class="message">', f'<h4 id="message-{number}">{seen}</h4>']
    if remedy:
        lines.append(f"<p>{remedy}</p>")
    return "\n".join((*lines, f"<small>{message.file}</small>", "</div>"))


def _with_variables(text: str) -> str:
    text = html.escape(text)
    return text.replace(OPEN, "<var>").replace(CLOSE, "</var>")


def notebook_page(path: Path) -> str:
    """The notebook's cells and outputs as a page."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts += [text] if cell["cell_type"] == "markdown" else [f"```python\n{text}\n```"]
        parts += [_output(each) for each in cell.get("outputs", ())]
    first, *rest = parts
    note = f"!!! note\n\n    Download and run it: [{path.name}]({path.name}). The tests run it too."
    return "\n\n".join((first, note, *rest, ""))


def _output(output: dict[str, Any]) -> str:
    """What a cell of the notebook printed or showed."""
    data = output.get("data", {})
    for kind in ("image/jpeg", "image/png"):
        if kind in data:
            return f'<img alt="the output of this cell" src="data:{kind};base64,{data[kind]}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"


def _source(name: str) -> Path:
    """The file of a command."""
    own = CLI / f"{name}.py"
    return own if own.is_file() else ROOT / "tools" / f"{name}.py"


def _head(name: str) -> tuple[str, str]:
    """The sentences of a command's docstring, and its command lines."""
    source = _source(name).read_text("utf-8")
    return _split(ast.get_docstring(ast.parse(source)) or "")


def _split(docstring: str) -> tuple[str, str]:
    """Sentences and command lines of a docstring."""
    told, commands = list[str](), list[str]()
    goes_on = False
    for line in docstring.splitlines():
        is_command = goes_on or line.strip().startswith(STARTS)
        goes_on = is_command and line.rstrip().endswith("\\")
        (commands if is_command else told).append(line)
    indent = min((len(each) - len(each.lstrip()) for each in commands), default=0)
    return "\n".join(told).strip(), "\n".join(each[indent:] for each in commands)


def _body(path: Path) -> list[str]:
    config = read_config(path)
    taken = ", ".join(f"`{each.replace('/', '', 1)}`" for each in config.takes)
    settings = commented(config)
    return [
        *_comment(config.head),
        *(
            (f"Includes {taken}, and sets:" if settings else f"Includes {taken}.", "")
            if taken
            else ()
        ),
        *(_table(settings) if settings else ()),
        "",
    ]


def _comment(lines: list[str]) -> list[str]:
    """A comment of a file as it stands: it may have columns."""
    if not any(line.startswith(" ") for line in lines):
        return [plain(" ".join(lines)), ""] if lines else []
    return ["```text", *lines, "```", ""]


def _table(settings: list[Setting]) -> Iterator[str]:
    yield from ("| setting | default | meaning |", "| --- | --- | --- |")
    for each in settings:
        told = each.comment
        if each.range and not (" | " in told or told.endswith(each.range)):
            told = f"{told.rstrip('.')}; {each.range}" if told else each.range
        value = code(each.value) if each.value else ""
        yield f"| {code(each.key)} | {value} | {plain(piped(told))} |"


def _options(tree: ast.Module) -> Iterator[str]:
    """A row of each `add_argument`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr != "add_argument" or not node.args:
            continue
        names = [each.value for each in node.args if isinstance(each, ast.Constant)]
        given = {each.arg: each.value for each in node.keywords}
        default, told = given.get("default"), given.get("help")
        value = code(ast.unparse(default)) if default is not None else ""
        sentence = told.value if isinstance(told, ast.Constant) else ""
        yield f"| {code(', '.join(map(str, names)))} | {value} | {plain(piped(str(sentence)))} |"
