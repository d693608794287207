"""Rule files that can't be used stop the start of a flow with one line that says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["refused_rules"]


@contextmanager
def refused_rules() -> Iterator[None]:
    """End the process with status 2 where a rule file can't be used."""
    try:
        yield
    except ValueError as error:
        # Not imported before there is one: it imports much.
        from operators.rules.files import RuleFileError  # noqa: PLC0415

        if not isinstance(error, RuleFileError):
            raise
        print(f"headrace: {error}", file=sys.stderr)
        raise SystemExit(2) from None
