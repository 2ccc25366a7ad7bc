"""Markdown of text, code and placeholders from the code."""

from __future__ import annotations

import html
import re

from devtools.site.messages import CLOSE, OPEN


def piped(text: str) -> str:
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Inline code for a table cell, with optional line breaks after dots and underscores."""
    shown = html.escape(" ".join(text.split())).replace("|", "&#124;")
    for sign in ("{", "}", "*", "[", "]", "\\", "`"):
        shown = shown.replace(sign, f"&#{ord(sign)};")
    breaking = re.sub(r"([._/])", r"<wbr>\1", shown).replace("_", "&#95;")
    return f"<code>{breaking}</code>"


def plain(text: str) -> str:
    """Escapes text as Markdown, except for code in backticks."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(each if each.startswith("`") else escaped(each) for each in pieces)


def escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)


def with_variables(text: str) -> str:
    text = html.escape(text)
    return text.replace(OPEN, "<var>").replace(CLOSE, "</var>")
