"""What is wrong with a JSON document of this library, in words.

What belongs here: putting pydantic's findings into a line. What does not: the documents themselves.
"""

from typing import Final

from pydantic import ValidationError

__all__ = ["what_is_wrong"]

_SHOWN: Final = 3
_MOST_ERRORS: Final = 1000


def what_is_wrong(error: ValidationError) -> str:
    """Return the first findings, each with its field, and without the values: they may be anything, and are logged."""
    # A document may have millions, and each would become a dictionary.
    if error.error_count() > _MOST_ERRORS:
        return f"document: {error.error_count():,} fields and values do not belong there"
    found = error.errors(include_url=False, include_input=False, include_context=False)[:_SHOWN]
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}" for problem in found)
