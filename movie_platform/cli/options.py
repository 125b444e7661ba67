"""What options of several commands have in common: days, and text that a person gives."""

from datetime import date

import click

from movie_platform.partitions import parse_day

_LONGEST_TEXT = 300


class Day(click.ParamType[date]):
    """A day, written YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day, or fail with an example."""
        try:
            return value if isinstance(value, date) else parse_day(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Line(click.ParamType[str]):
    """One line of text."""

    name = "TEXT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail when it would break a line somewhere."""
        text = str(value).strip()
        if not text.isprintable() or not 0 < len(text) <= _LONGEST_TEXT:
            self.fail(f"write one line of at most {_LONGEST_TEXT} characters", param, ctx)
        return text
