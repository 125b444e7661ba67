"""Code versions: digests of the sources, so that a bundle and the UI can say which code made a result."""

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent


@cache
def code_version(*parts: str) -> str:
    """The first 12 hex digits of the SHA-256 of the package's Python sources.

    With `parts` (files or folders of the package, such as "tmdb" or "schemas.py"), only of those. The same sources
    give the same version in a checkout and in a container.
    """
    roots = [_PACKAGE / part for part in parts] or [_PACKAGE]
    files = {file for root in roots for file in ([root] if root.is_file() else root.rglob("*.py"))}
    if not files:
        raise ValueError(f"no sources in {', '.join(map(str, roots))}")
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
