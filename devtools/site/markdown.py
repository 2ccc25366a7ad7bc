"""Text of the sources as Markdown."""

from __future__ import annotations

import html
import re


def piped(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Text in a cell, letter by letter, breaking at dots and underscores where it is narrow."""
    shown = html.escape(" ".join(text.split())).replace("|", "&#124;")
    for sign in ("{", "}", "*", "[", "]", "\\", "`"):
        shown = shown.replace(sign, f"&#{ord(sign)};")
    breaking = re.sub(r"([._/])", r"<wbr>\1", shown).replace("_", "&#95;")
    return f"<code>{breaking}</code>"


def plain(text: str) -> str:
    """Sentences of the code as Markdown: what is in backticks stays code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(each if each.startswith("`") else escaped(each) for each in pieces)


def escaped(text: str) -> str:
    """Text without signs that Markdown would read."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)
