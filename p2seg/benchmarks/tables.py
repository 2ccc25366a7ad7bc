"""Rows of figures as a printed table."""

from __future__ import annotations

from rich.table import Table

from p2seg.benchmarks.measure import Row

COLUMNS = ("h", "d", "batch", "s", "MiB", "rival", "its s", "its MiB", "times faster", "of limit")


def table_of(rows: list[Row]) -> Table:
    """`times faster` than the rival, and the time in units of what the machine's rates allow."""
    table = Table("what")
    for title in COLUMNS:
        table.add_column(title, justify="left" if title == "rival" else "right")
    for row in rows:
        faster = row.rival_seconds / row.seconds if row.rival_seconds else None
        slower = row.seconds / row.limit_seconds if row.limit_seconds else None
        table.add_row(
            f"{row.name} ({row.dtype})",
            *(str(each or "") for each in (row.h, row.d, row.batch)),
            _shown(row.seconds, ".4g"),
            _shown(row.peak_mb, ".0f"),
            row.rival,
            _shown(row.rival_seconds, ".4g"),
            _shown(row.rival_peak_mb, ".0f"),
            _shown(faster, ".1f"),
            _shown(slower, ".2f"),
        )
    return table


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
