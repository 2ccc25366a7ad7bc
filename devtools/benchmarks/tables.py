"""Prints benchmark rows as a table."""

from __future__ import annotations

from rich.table import Table

from devtools.benchmarks.measure import Row


def table_of(rows: list[Row]) -> Table:
    """Returns a table with the speed relative to the reference and to the limit of the machine.

    Columns without values are omitted.
    """
    lines = [_cells(row) for row in rows]
    table = Table("what")
    titles = [title for title in lines[0] if any(line[title] for line in lines)] if lines else []
    for title in titles:
        table.add_column(title, justify="left" if title == "rival" else "right")
    for row, line in zip(rows, lines, strict=True):
        table.add_row(f"{row.name} ({row.dtype})", *(line[title] for title in titles))
    return table


def _cells(row: Row) -> dict[str, str]:
    faster = row.rival_seconds / row.seconds if row.rival_seconds else None
    slower = row.seconds / row.limit_seconds if row.limit_seconds else None
    millions = None if row.parameters is None else row.parameters / 1e6
    return {
        **{name: str(getattr(row, name) or "") for name in ("h", "d", "batch")},
        "parameters (M)": _shown(millions, ".2f"),
        "MACs (G)": _shown(None if row.macs is None else row.macs / 1e9, ".3g"),
        "s": _shown(row.seconds, ".4g"),
        "MiB": _shown(row.peak_mb, ".0f"),
        "gained MiB": _shown(row.gained_mb, ".1f"),
        "rival": row.rival,
        "its s": _shown(row.rival_seconds, ".4g"),
        "its MiB": _shown(row.rival_peak_mb, ".0f"),
        "times faster": _shown(faster, ".2f"),
        "of limit": _shown(slower, ".2f"),
    }


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
