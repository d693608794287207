"""Metrics that name no service get one from what they have."""

import polars as pl
import pytest

from operators.contracts.frames import ATTRIBUTES
from operators.series.services import with_service

SOURCES = ("job", "app", "host")


def service(*pairs: tuple[str, str], default: str = "") -> str | None:
    """Return the service of the second of three owners; the others have nothing, and all."""
    rows = [(1, key, value) for key, value in pairs] + [(2, "service.name", "own"), (2, "job", "x")]
    labels = pl.DataFrame(rows, schema=ATTRIBUTES, orient="row")
    found = with_service(labels, 3, SOURCES, default)
    assert found.schema == ATTRIBUTES
    assert found[: len(rows)].equals(labels)
    of = {
        owner: value
        for owner, key, value in found.iter_rows()
        if key == "service.name" and (owner != 1 or value)
    }
    assert of[2] == "own"
    assert of.get(0, "") == default
    return of.get(1)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("service.name", "shop"), ("job", "x")], "shop"),
        ([("host", "h"), ("app", "a"), ("job", "j")], "j"),
        ([("job", "shop/checkout")], "checkout"),
        ([("host", "a/b"), ("app", "")], "a/b"),
        ([("service.name", ""), ("host", "h")], "h"),
        ([("job", "one"), ("job", "two")], "two"),
        ([("region", "eu")], None),
        ([], None),
    ],
)
def test_the_service_is_its_own_or_the_best_of_what_may_tell_it(pairs, expected):
    assert service(*pairs) == expected


def test_an_input_may_say_whose_the_rest_is():
    assert service(("region", "eu"), default="edge") == "edge"
    assert service(("host", "h"), default="edge") == "h"
