"""How results are shown in the Dagster UI: tables and images as metadata."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import pandas as pd


def table(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """A small table; values that the UI does not know (dates, lists) as text, floats with three decimals."""
    records: list[Any] = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
    if not records:
        return dg.MetadataValue.text("none")
    columns = list(dict.fromkeys(name for row in records for name in row))
    return dg.MetadataValue.table(
        records=[dg.TableRecord({str(name): _plain(row.get(name)) for name in columns}) for row in records]
    )


def _plain(value: Any) -> str | int | float | bool | None:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return round(value, 3)
    if value is None or isinstance(value, str | int | bool):
        return value
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d"))
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def image(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A picture inside the metadata itself, since the UI can reach no other file."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")
