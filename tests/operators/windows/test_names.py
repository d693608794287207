"""What a shard knows of its series: numbers, names, and what it forgets."""

import numpy as np
import polars as pl

from operators.contracts.decoder import Description
from operators.contracts.frames import ATTRIBUTES, KINDS, STREAMS, shard_of
from operators.series.enrichment import Enricher
from operators.series.registry import name_series
from operators.windows.names import REFUSED, UNNAMED, Names
from tests.operators.series.polls import NO_ENRICHMENT
from tests.operators.windows.rollup_reference import CUMULATIVE, GAUGE, Stream
from tests.operators.windows.window_driver import series_of

A, B, C = 11, 22, 33


def keys(*identities: int) -> np.ndarray:
    return np.array(identities, np.uint64)


def names_of(**series: int) -> Names:
    """Names of identities that were named before their points came."""
    names = Names()
    names.name(series_of({A: Stream(series.get("a", A), GAUGE), B: Stream(B, CUMULATIVE)}), 0)
    return names


def test_an_identity_keeps_its_row():
    names = names_of()
    assert names.number(keys(B, A, B), 5).tolist() == [1, 0, 1]
    assert names.kinds.tolist() == [GAUGE, CUMULATIVE]


def test_points_may_come_before_their_name():
    names = names_of()
    assert names.number(keys(C, A, C), 5).tolist() == [2, 0, 2]
    assert names.waiting == 1
    assert names.kinds[2] == UNNAMED
    assert names.name(series_of({C: Stream(C, GAUGE)}), 6).tolist() == [2]
    assert names.waiting == 0
    assert names.kinds[2] == GAUGE


def test_a_name_that_stands_twice_is_one_name():
    """Two encodings of the same attributes are one identity."""
    names = Names()
    names.number(keys(A, B), 5)
    twice = series_of({A: Stream(A, GAUGE)})
    names.name(twice.vstack(twice), 5)
    assert names.waiting == 1


def test_identities_that_are_written_as_one_series_have_one_owner():
    names = names_of(a=B)
    assert names.owner.tolist() == [0, 0]
    assert names.owners == 1
    texts = names.describe(np.array([0]))
    assert (texts["name"][0], texts["kind"][0]) == (f"series-{B}", KINDS[GAUGE])


def test_what_is_refused_is_told_by_tenant_until_it_is_admitted():
    names = names_of()
    names.refuse(keys(C), "shop", 5)
    rows = names.number(keys(C, C, A), 5)
    assert names.kinds[rows].tolist() == [REFUSED, REFUSED, GAUGE]
    assert names.refused(rows[:2]) == {"shop": 2}
    names.name(series_of({C: Stream(C, GAUGE)}), 5)
    assert names.kinds[rows[0]] == GAUGE


def test_a_series_that_is_refused_later_keeps_the_owner_of_what_is_held():
    names = names_of()
    names.refuse(keys(A), "shop", 5)
    assert names.kinds.tolist() == [REFUSED, CUMULATIVE]
    assert names.owner.tolist() == [0, 1]
    assert names.refused(np.array([0, 0], np.int32)) == {"default": 2}


def test_what_is_quiet_is_forgotten_and_the_rest_is_renumbered():
    names = names_of()
    names.number(keys(C), 100)
    names.name(series_of({C: Stream(C, GAUGE)}), 100)
    assert names.forget(50, 60) is None  # all were named since the last time
    names.touch_rows(np.array([1, 2], np.int32), np.array([200, 200]))
    change = names.forget(150, 250)
    assert change is not None
    assert change.rows.tolist() == [-1, 0, 1]
    assert change.owners.tolist() == [-1, 0, 1]
    assert names.identities.tolist() == [B, C]
    assert names.describe(np.array([0, 1]))["name"].to_list() == [f"series-{B}", f"series-{C}"]
    assert names.number(keys(A), 300).tolist() == [2]


def test_a_series_lives_as_long_as_one_of_its_identities():
    names = names_of(a=B)
    names.forget(0, 10)
    names.touch_rows(np.array([1], np.int32), np.array([200]))
    change = names.forget(100, 250)
    assert change is not None
    assert change.owners.tolist() == [0]
    assert names.owner.tolist() == [0]


def test_a_name_that_comes_before_time_is_known_is_not_forgotten_at_once():
    """At a start the name may be there, and time get known by others, before the first point."""
    names = Names()
    names.name(series_of({A: Stream(A, GAUGE)}), -(2**62))
    assert names.forget(10**18, 2 * 10**18) is None
    assert names.rows == 1


def test_a_snapshot_holds_all_of_it():
    names = names_of()
    names.number(keys(C), 9)
    names.refuse(keys(44), "shop", 9)
    again = Names()
    again.restore(names.snapshot())
    assert again.number(keys(A, B, C, 44), 9).tolist() == [0, 1, 2, 3]
    assert again.kinds.tolist() == names.kinds.tolist()
    assert again.waiting == 1
    assert again.refused(np.array([3], np.int32)) == {"shop": 1}
    assert again.describe(np.array([1]))["name"][0] == f"series-{B}"


def test_a_pattern_matches_whole_names_also_of_series_that_come_later():
    names = names_of()
    assert names.matching(f"series-{A}|other").tolist() == [True, False]
    names.name(series_of({C: Stream(C, GAUGE)}), 0)
    assert names.matching(f"series-{A}|other").tolist() == [True, False, False]


def test_series_that_differ_in_kind_or_unit_alone_are_kept_apart_by_labels():
    """Two versions of an application: a counter in ``1``, and a gauge in ``s``."""
    streams = pl.DataFrame(
        {
            "name": ["load"] * 3, "unit": ["1", "s", "1"],
            "kind": [CUMULATIVE, GAUGE, CUMULATIVE], "scope": ["", "", "other"],
            "resource": [0] * 3,
        },
        schema=STREAMS,
    )  # fmt: skip
    labels = pl.DataFrame(
        {"owner": [0, 1, 2], "key": ["host"] * 3, "value": ["a"] * 3}, schema=ATTRIBUTES
    )
    description = Description(streams, labels, pl.DataFrame(schema=ATTRIBUTES))
    series = name_series(pl.Series(["default"]), description, [], Enricher(NO_ENRICHMENT))
    assert series["identity"].n_unique() == 3
    assert series["series"].n_unique() == 2
    assert len(set(shard_of(series["series"].to_numpy(), 16).tolist())) == 1

    together, apart = Names(), Names()
    together.name(series, 0)
    apart.name(series[[0, 2]], 0)
    apart.name(series[[1]], 0)
    restored = Names()
    restored.restore(apart.snapshot())
    restored.name(series, 0)
    for names in (together, apart, restored):
        assert names.owners == 2
        texts = names.describe(np.array([0, 1]))
        assert texts["labels"].to_list() == [
            '{"host":"a"}', '{"host":"a","metric_kind":"gauge","metric_unit":"s"}'
        ]  # fmt: skip
        assert texts["kind"].to_list() == ["cumulative", "gauge"]
