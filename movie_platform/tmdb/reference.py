"""What TMDB's values mean: its genres, its language codes, its dates, and how long they may be kept.

Constants and the reading of single values belong here. Requests belong in `client`, whole items in `films`.
"""

import re
from datetime import date, timedelta
from types import MappingProxyType

__all__ = ["GENRES", "LANGUAGES", "LONGEST_KEPT", "parse_date"]

LONGEST_KEPT = timedelta(days=180)
"""After that, whatever TMDB says of films must be gone: its terms forbid to keep it longer than six months."""

GENRES = MappingProxyType(
    {
        28: "Action",
        12: "Adventure",
        16: "Animation",
        35: "Comedy",
        80: "Crime",
        99: "Documentary",
        18: "Drama",
        10751: "Family",
        14: "Fantasy",
        36: "History",
        27: "Horror",
        10402: "Music",
        9648: "Mystery",
        10749: "Romance",
        878: "Science Fiction",
        10770: "TV Movie",
        53: "Thriller",
        10752: "War",
        37: "Western",
    }
)
"""The 19 film genres by id, English names, in the order of `GET /genre/movie/list`."""

_ISO_639_1 = """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee
    el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io
    is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn
    mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se
    sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo
    wa wo xh yi yo za zh zu
"""
# TMDB's own: no language, Cantonese, and two codes that ISO has withdrawn (Serbo-Croatian, Moldavian).
_TMDB_ONLY = "xx cn sh mo"

LANGUAGES = frozenset(f"{_ISO_639_1} {_TMDB_ONLY}".split())
"""The 187 codes that `original_language` may have (`GET /configuration/languages`)."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_date(value: object) -> date | None:
    """Return the day that a TMDB date field names, None when it names none.

    Only YYYY-MM-DD counts: `date.fromisoformat` alone would also take 20260105 and 2026-W02-1.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None
