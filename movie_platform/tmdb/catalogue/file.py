"""Reading a catalogue file: TMDB items as JSON lines.

Only the file's form is judged here. Odd fields inside an item pass, as they do on their way through the API.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

__all__ = ["CatalogueFileError", "read_catalogue"]

_GZIP_MAGIC = b"\x1f\x8b"


class CatalogueFileError(ValueError):
    """The file cannot be read as a catalogue; the text names file, line and remedy."""


def read_catalogue(path: Path) -> list[dict[str, Any]]:
    """Return the items of a file with one TMDB item (of `/discover/movie`) a line, gzip-compressed or not.

    Its first bytes, not its name, say whether it is compressed. Empty lines are skipped.
    """
    items: list[dict[str, Any]] = []
    number = 0
    try:
        with path.open("rb") as file:
            is_compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(path) if is_compressed else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    items.append(_item(line, f"{path}, line {number}"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CatalogueFileError(
            f"{path}, after line {number}: the compressed data is damaged ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise CatalogueFileError(
            f"{path}: {error.strerror or error}; set TMDB_CATALOGUE to a file that can be read"
        ) from error
    if not items:
        raise CatalogueFileError(f"{path}: no items; the file needs one TMDB item a line")
    return items


def _item(line: bytes, where: str) -> dict[str, Any]:
    try:
        item = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CatalogueFileError(
            f"{where}: not JSON ({error}); each line must be one whole TMDB item, in UTF-8"
        ) from error
    if not isinstance(item, dict):
        raise CatalogueFileError(
            f"{where}: a {type(item).__name__}, not an object; write one item a line, not a list of items "
            "(`jq -c '.[]'` splits one)"
        )
    return item


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
