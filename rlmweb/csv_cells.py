"""Cells of CSV files that spreadsheets open: text stays text."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the start of a cell, behind spaces too."""


def neutral(cell: object) -> str:
    text = str(cell)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
