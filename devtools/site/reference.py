"""Pages that are generated from the code: commands, configs, scripts and messages.

Each function returns the Markdown of one page; `hook.py` adds the pages to the site.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from devtools.site.markdown import code, escaped, piped, plain, with_variables
from devtools.site.messages import TOPICS, Message, by_topic
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
"""Front matter that ranks generated pages below written ones in a search."""

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
"""Main groups of settings of a command, besides its own file."""
CLI = ROOT / "p2seg" / "cli"
STARTS = ("p2seg ", "python ", "./scripts/", "torchrun ")
"""Beginnings of a command line in a docstring."""


def tools_page() -> str:
    """The experiment commands in a table, and their common options."""
    first = {name: " ".join(_head(name)[0].split("\n\n")[0].split()) for name in tool_names()}
    rows = (f"| [`{name}`]({name}.md) | {escaped(text)} |" for name, text in first.items())
    codes = (f"| {number} | {escaped(text)} |" for number, text in EXIT_CODES.items())
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
    text, commands = _head(name)
    return OF_THE_CODE + "\n".join(
        (
            f"# {name}",
            "",
            plain(text),
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
    included = (each for each in config.takes if not each.startswith("hydra/"))
    return OF_THE_CODE + "\n".join(
        (
            "# base.yaml",
            "",
            *_comment(config.head),
            "Default files of the groups: " + ", ".join(f"`{each}`" for each in included) + ".",
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
        text, commands = _split(ast.get_docstring(tree) or "")
        title = f"p2seg {path.stem}" if path.parent == CLI else path.relative_to(ROOT).as_posix()
        parts += [f"## {title}", "", plain(text), ""]
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
    seen, remedy = (with_variables(each) for each in message.parts)
    lines = ['<div class="message">', f'<h4 id="message-{number}">{seen}</h4>']
    if remedy:
        lines.append(f"<p>{remedy}</p>")
    return "\n".join((*lines, f"<small>{message.file}</small>", "</div>"))


def _source(name: str) -> Path:
    """The file of a command."""
    own = CLI / f"{name}.py"
    return own if own.is_file() else ROOT / "tools" / f"{name}.py"


def _head(name: str) -> tuple[str, str]:
    """The text of a command's docstring, and its command lines."""
    source = _source(name).read_text("utf-8")
    return _split(ast.get_docstring(ast.parse(source)) or "")


def _split(docstring: str) -> tuple[str, str]:
    """The text and the command lines of a docstring."""
    sentences, commands = list[str](), list[str]()
    continues = False
    for line in docstring.splitlines():
        is_command = continues or line.strip().startswith(STARTS)
        continues = is_command and line.rstrip().endswith("\\")
        (commands if is_command else sentences).append(line)
    indent = min((len(each) - len(each.lstrip()) for each in commands), default=0)
    return "\n".join(sentences).strip(), "\n".join(each[indent:] for each in commands)


def _body(path: Path) -> list[str]:
    config = read_config(path)
    included = ", ".join(f"`{each.replace('/', '', 1)}`" for each in config.takes)
    settings = commented(config)
    return [
        *_comment(config.head),
        *(
            (f"Includes {included}, and sets:" if settings else f"Includes {included}.", "")
            if included
            else ()
        ),
        *(_table(settings) if settings else ()),
        "",
    ]


def _comment(lines: list[str]) -> list[str]:
    """A comment of a file, as code if it has columns."""
    if not any(line.startswith(" ") for line in lines):
        return [plain(" ".join(lines)), ""] if lines else []
    return ["```text", *lines, "```", ""]


def _table(settings: list[Setting]) -> Iterator[str]:
    yield from ("| setting | default | meaning |", "| --- | --- | --- |")
    for each in settings:
        text = each.comment
        if each.range and not (" | " in text or text.endswith(each.range)):
            text = f"{text.rstrip('.')}; {each.range}" if text else each.range
        value = code(each.value) if each.value else ""
        yield f"| {code(each.key)} | {value} | {plain(piped(text))} |"


def _options(tree: ast.Module) -> Iterator[str]:
    """A table row for each `add_argument`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr != "add_argument" or not node.args:
            continue
        names = [each.value for each in node.args if isinstance(each, ast.Constant)]
        arguments = {each.arg: each.value for each in node.keywords}
        default, text = arguments.get("default"), arguments.get("help")
        value = code(ast.unparse(default)) if default is not None else ""
        sentence = text.value if isinstance(text, ast.Constant) else ""
        yield f"| {code(', '.join(map(str, names)))} | {value} | {plain(piped(str(sentence)))} |"
