"""Pages of HTML with everything in them, which ask the network for nothing."""

from __future__ import annotations

import jinja2

__all__ = ["environment"]


def environment(package: str) -> jinja2.Environment:
    """Return the templates of a package, beside those that all pages share.

    Those are ``page.css``, the look, and ``picture.html``, with the macros ``picture`` and
    ``columns``. Whatever is put into a page is escaped.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("flows.offline.pictures")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
