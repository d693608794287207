"""What services cut off, cut off before, with a sign that something is missing."""

from __future__ import annotations

__all__ = ["cut"]


def cut(text: str, length: int) -> str:
    """Return a text of at most so many characters, the last of which says if more were there.

    >>> cut("alertname", 6), cut("alert", 5)
    ('alert…', 'alert')
    """
    return text if len(text) <= length else text[: length - 1] + "…"
