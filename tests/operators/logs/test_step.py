"""From polls to groups: templates, exceptions and counts, whatever the shards, batches and restarts."""

import itertools
import json
from collections import Counter

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import Logs, Scrubbing
from operators.contracts.alert import decode_event
from operators.contracts.frames import GROUPED_LOGS
from operators.contracts.items import (
    Events,
    ExceptionCommand,
    Grouped,
    LogBatch,
    Polled,
    Rejected,
)
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.exceptions.groups import ExceptionGroup, ExceptionGroups, older_release
from operators.logs.exceptions.stack_traces import VERSION
from operators.logs.step import GroupingLogic
from operators.logs.templates.merging import template_id
from tests.operators.logs.test_exceptions import JAVA, PYTHON
from tests.operators.logs.test_scrubbing import SECRETS

CAME = 1_767_225_603_000_000_000
TOPICS = {"logs": EncodedLogs("text", "default"), "json": EncodedLogs("fluent_bit_json", "default")}


class Chain:
    """Decoding and grouping as the flow wires them."""

    def __init__(self, shards: int = 2, config: Logs | None = None) -> None:
        self.config = config or Logs()
        self.shards = shards
        rules = {"": self.config.scrubbing.rules()}
        rules |= {tenant: each.rules() for tenant, each in self.config.tenants.items()}
        self.rules = rules
        self.decoding = LogDecoding(TOPICS, rules, shards=shards)
        self.logics: dict[int, GroupingLogic] = {}
        self.offset = 0
        self.rejected: list[Rejected] = []
        self.grouped: list[Grouped] = []
        self.events: list[dict] = []

    def feed(
        self, lines: list[str | bytes], topic: str = "logs", tenants: list[str] | None = None
    ) -> None:
        values = [line if isinstance(line, bytes) else line.encode() for line in lines]
        offsets = np.arange(self.offset, self.offset + len(values))
        self.offset += len(values)
        polled = Polled(
            0,
            topic,
            values,
            np.zeros(len(values), np.int32),
            offsets,
            times=np.full(len(values), CAME),
        )
        if tenants:
            names = tuple(dict.fromkeys(tenants))
            numbers = np.array([names.index(name) for name in tenants], np.int32)
            polled = Polled(
                0,
                topic,
                values,
                polled.partitions,
                offsets,
                tenants=numbers,
                tenant_names=names,
                times=polled.times,
            )
        for item in self.decoding(polled):
            if isinstance(item, Rejected):
                self.rejected.append(item)
                continue
            logic = self.logics.setdefault(item.shard, GroupingLogic(self.config, None))
            for out in logic.on_batch([item]):
                if isinstance(out, Events):
                    self.events += [decode_event(event) for event in out.frame["event"].to_list()]
                else:
                    self.grouped.append(out)

    def restart(self) -> None:
        """Go on from snapshots that went through JSON: plain data."""
        states = {
            shard: orjson.loads(orjson.dumps(logic.snapshot()))
            for shard, logic in self.logics.items()
        }
        self.logics = {shard: GroupingLogic(self.config, state) for shard, state in states.items()}
        self.decoding = LogDecoding(TOPICS, self.rules, shards=self.shards)

    @property
    def records(self) -> pl.DataFrame:
        return pl.concat([each.records for each in self.grouped]).sort("offset", "index")

    def templates(self) -> dict[tuple[str, str, int], str]:
        """Return the text that followers of the changes know for each shape."""
        found = {}
        for each in self.grouped:
            for row in each.templates.rows(named=True):
                found[row["tenant"], row["service"], row["shape"]] = row["text"]
        return found

    def counts(self) -> Counter:
        total: Counter = Counter()
        for each in self.grouped:
            for row in each.counts.rows(named=True):
                total[row["service"], row["severity"], row["exception"]] += row["count"]
        return total


_services = st.sampled_from(["a", "b", "c"])
_lines = st.builds(
    lambda service, level, word, number: f'service={service} level={level} msg="mode={word} was set to {number} here"',
    _services, st.sampled_from(["info", "error"]), st.sampled_from([*"abcdef", "true", "false"]), st.integers(0, 99),
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(
    st.lists(_lines, min_size=1, max_size=40), st.randoms(use_true_random=False), st.integers(1, 5)
)
def test_templates_and_counts_are_the_same_for_any_order_batches_shards_and_restarts(
    lines, random, parts
):
    expected = Chain(shards=1)
    expected.feed(lines)
    other = Chain(shards=parts)
    shuffled = list(lines)
    random.shuffle(shuffled)
    for start in range(0, len(shuffled), parts):
        other.feed(shuffled[start : start + parts])
        if random.random() < 0.4:
            other.restart()
    assert other.templates() == expected.templates()
    assert other.counts() == expected.counts()
    columns = ["service", "severity", "body", "shape"]
    assert (
        other.records.select(columns)
        .sort(columns)
        .equals(expected.records.select(columns).sort(columns))
    )


def test_a_record_keeps_its_place_and_has_its_template():
    chain = Chain()
    chain.feed(["INFO took 5 ms", "", "INFO took 77 ms"])
    records = chain.records
    assert dict(records.schema) == dict(GROUPED_LOGS)
    assert records["offset"].to_list() == [0, 1, 2]
    assert records["template"][0] == records["template"][2] != records["template"][1]
    assert (records["template"] > 0).all()


def test_a_merge_publishes_the_old_template_and_the_new():
    chain = Chain()
    chain.feed([f"mode={word} was set here" for word in "abc"])
    before = chain.records["template"].to_list()
    chain.feed(["mode=d was set here"])
    changes = chain.grouped[-1].templates
    assert sorted(changes["old"].to_list()) == sorted([*before, 0])
    assert changes["new"].n_unique() == 1
    assert changes["text"].unique().to_list() == ["mode=* was set here"]


def test_no_planted_secret_is_anywhere_in_what_comes_out():
    chain = Chain()
    planted = {text: secret for text, secret in SECRETS.items() if secret}
    chain.feed([f"ERROR {text}" for text in planted])
    chain.feed(
        [
            orjson.dumps(
                {
                    "log": text,
                    "note": text,
                    "password": "hunter2",
                    "e": {"stack": f"a.BError: {text}\n\tat a.b(c.java:1)"},
                }
            )
            for text in planted
        ],
        "json",
    )
    chain.feed([b'{"log": "' + text.encode() for text in planted], "json")
    out = [
        value
        for each in chain.grouped
        for frame in (each.records, each.templates)
        for row in frame.rows()
        for value in row
        if isinstance(value, str)
    ]
    everything = "\n".join([*out, json.dumps(chain.events)])
    assert len(chain.records) == 3 * len(planted)
    assert [secret for secret in set(planted.values()) if secret in everything] == []


def test_a_new_exception_is_told_once_with_its_sample_and_trace():
    chain = Chain()
    trace = "0af7651916cd43dd8448eb211c80319c"
    java = {
        "message": "failed",
        "level": "error",
        "service": "shop",
        "exception.stacktrace": JAVA,
        "trace_id": trace,
    }
    chain.feed([orjson.dumps(java)], "json")
    chain.feed(
        [
            orjson.dumps(
                java | {"exception.stacktrace": JAVA.replace("4711", "12").replace(":12)", ":9)")}
            )
        ],
        "json",
    )
    (event,) = chain.events
    assert event["labels"]["alertname"] == "NewException"
    assert event["labels"]["service"] == "shop"
    assert event["labels"]["type"] == "java.sql.SQLException"
    assert event["evidence"]["traceIds"] == [trace]
    assert event["evidence"]["sample"] == JAVA
    assert chain.records["exception"].to_list() == [event["labels"]["exception"]] * 2
    chain.feed([PYTHON])
    assert [each["labels"]["alertname"] for each in chain.events] == ["NewException"] * 2
    chain.restart()
    chain.feed([orjson.dumps(java)], "json")
    assert len(chain.events) == 2


def test_a_template_of_errors_that_was_never_seen_is_told():
    chain = Chain()
    chain.feed(["INFO it is well", "ERROR it broke at 5"])
    chain.feed(["ERROR it broke at 7"])
    assert [each["annotations"]["summary"] for each in chain.events] == [": it broke at 5"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.sampled_from(["read", "sent"])),
            min_size=1, max_size=8,
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_a_template_is_new_if_no_shape_had_it_when_the_batch_came(batches):
    chain = Chain(shards=1)
    of_shape: dict[int, int] = {}
    for number, batch in enumerate(batches):
        if number == 3:
            chain.restart()
        told = len(chain.events)
        # Lines that differ in a word become one template after some time.
        chain.feed([f"ERROR part={word * 5} was {done} by the store" for word, done in batch])
        templates = chain.grouped[-1].templates
        firsts = set(templates.filter(old=0)["new"].to_list()) - set(of_shape.values())
        of_shape |= dict(zip(templates["shape"], templates["new"], strict=True))
        labels = [event["labels"] for event in chain.events[told:]]
        new = [each["template"] for each in labels if each["alertname"] == "NewErrorTemplate"]
        assert sorted(new) == sorted(f"{template:x}" for template in firsts)


def test_noise_beyond_the_shapes_that_are_compared_is_of_one_template_and_one_event():
    words = ["".join(pair) for pair in itertools.permutations("abcdefg", 3)]
    noise = [f"ERROR {' '.join(words[at : at + 3 + at % 5])}" for at in range(200)]
    chain = Chain(config=Logs(shapes=3))
    chain.feed([f"ERROR {'step ' * number}" for number in range(1, 4)])
    first = [event["labels"]["alertname"] for event in chain.events]
    assert first == ["NewErrorTemplate"] * 3
    sizes = []
    for begin in range(0, 200, 50):
        chain.feed(noise[begin : begin + 50])
        (logic,) = chain.logics.values()
        sizes.append(
            len(orjson.dumps([logic.snapshot()[part] for part in ("templates", "shapes")]))
        )
        chain.restart()
    # What is compared goes on, after the noise and restarts, too.
    chain.feed(["ERROR step "])
    assert [event["labels"]["alertname"] for event in chain.events[3:]] == ["NewErrorTemplate"]
    assert len(set(sizes)) == 1
    templates = chain.records["template"].to_list()
    assert len(set(templates[:3])) == 3
    assert set(templates[3:-1]) == {template_id("(all else)")}
    assert templates[-1] == templates[0]
    assert set(chain.templates().values()) >= {"(all else)"}
    counted = sum(sum(each.counts["count"]) for each in chain.grouped)
    assert counted == len(noise) + 4


def test_counts_of_a_series_never_overlap():
    chain = Chain(shards=1)
    for _ in range(3):
        chain.feed(["INFO same time", "INFO same time"])
    rows = pl.concat([each.counts for each in chain.grouped])
    assert rows["count"].to_list() == [2, 2, 2]
    assert (rows["start"] < rows["ts"]).all()
    assert rows["start"].to_list()[1:] == rows["ts"].to_list()[:-1]


def test_tenants_have_rules_of_their_own():
    config = Logs(scrubbing=Scrubbing(actions={"email": "keep"}), tenants={"t2": Scrubbing()})
    chain = Chain(config=config)
    chain.feed(["to a@x.org"] * 3, tenants=["t1", "t2", "t1"])
    assert chain.records.select("tenant", "body").rows() == [
        ("t1", "to a@x.org"), ("t2", "to ***"), ("t1", "to a@x.org"),
    ]  # fmt: skip


def test_a_state_of_another_version_is_refused():
    with pytest.raises(RuntimeError, match="version 0"):
        GroupingLogic(Logs(), {"version": 0})
    with pytest.raises(RuntimeError, match="of version"):
        ExceptionGroups(1, {"version": 0})


def group(**more) -> ExceptionGroup:
    return ExceptionGroup("f", "T", "c", "s", VERSION, 100, 100, **more)


def asked(do: str, at: int, release: str = "", times: int = 0, within: int = 0) -> ExceptionCommand:
    return ExceptionCommand(0, "t", "s", "f", do, at, "ann", release, times, within)


@pytest.mark.parametrize(
    ("ts", "release", "regressed"),
    [
        (200, "1.1", False),  # an older release
        (50, "1.2", False),  # before it was resolved
        (200, "1.2", True),
        (200, "1.10", True),
        (200, "", True),  # nothing says that it is older
    ],
)
def test_a_regression_is_later_than_the_resolution_and_in_no_older_release(ts, release, regressed):
    each = group()
    each.obey(asked("resolve", 150, "1.2"))
    assert each.see(ts, 1, release) == ("regressed" if regressed else "")
    assert each.state == ("regressed" if regressed else "resolved")


def test_an_ignored_exception_is_heard_of_after_so_many_times_or_never():
    each = group(count=5)
    each.obey(asked("ignore", 150, times=3))
    assert not each.see(140, 9, "")  # before it was ignored
    assert not each.see(200, 2, "")
    assert each.state == "ignored"
    assert each.see(300, 1, "") == "unignored"
    assert each.state == "ongoing"
    for_ever = group()
    for_ever.obey(asked("ignore", 150))
    for_ever.see(200, 1000, "")
    assert for_ever.state == "ignored"


def test_an_ignored_exception_is_heard_of_if_it_is_so_often_in_one_period():
    each = group()
    each.obey(asked("ignore", 100, times=3, within=10))
    assert not each.see(119, 4, "", np.array([109, 110, 111, 119]))  # two in each of two periods
    assert not each.see(131, 2, "", np.array([121, 131]))
    assert each.see(129, 2, "", np.array([129, 130])) == "unignored"


def test_an_exception_is_ignored_until_a_release():
    each = group()
    each.obey(asked("ignore", 150, "2.0"))
    assert not each.see(200, 5, "1.9")
    assert not each.see(210, 5, "")
    assert each.see(220, 1, "2.0.1") == "unignored"


_commands = st.builds(
    asked, st.sampled_from(["resolve", "ignore", "reopen"]), st.integers(100, 120), st.sampled_from(["", "1.0", "2.0"])
)  # fmt: skip
_sightings = st.tuples(st.integers(90, 130), st.sampled_from(["", "0.9", "1.0", "2.1"]))


@given(st.lists(_commands, max_size=4, unique_by=lambda one: one.at), st.lists(_sightings, max_size=5),
       st.randoms(use_true_random=False))  # fmt: skip
def test_what_becomes_of_an_exception_is_the_same_in_whatever_order_it_is_told(
    commands, sightings, random
):
    groups = ExceptionGroups(9)
    told = [*commands, *commands, *sightings]
    random.shuffle(told)
    for one in told:
        if isinstance(one, ExceptionCommand):
            groups.obey(one)
        else:
            if groups.get("t", "s", "f") is None:
                groups.add("t", "s", ExceptionGroup("f", "T", "c", "s", VERSION, one[0], one[0]))
            groups.get("t", "s", "f").see(one[0], 1, one[1])
        groups = ExceptionGroups(9, orjson.loads(orjson.dumps(groups.snapshot())))
    if not sightings:
        return
    expected = "new"
    if commands:
        last = max(commands, key=lambda one: one.at)
        age = {"": 0, "0.9": 0, "1.0": 1, "2.0": 2, "2.1": 3}
        back = any(
            ts > last.at
            and (
                age[release] >= age[last.release] or (last.do == "resolve" and not release)
                if last.release
                else last.do == "resolve"
            )
            and (release or last.do == "resolve")
            for ts, release in sightings
        )
        after = {"resolve": "regressed", "ignore": "ongoing", "reopen": "ongoing"}
        before = {"resolve": "resolved", "ignore": "ignored", "reopen": "ongoing"}
        expected = (after if back else before)[last.do]
    assert groups.get("t", "s", "f").state == expected


def test_what_is_asked_of_an_exception_is_told_and_its_return_is_an_event():
    chain = Chain(shards=1)
    record = {
        "time": "1970-01-01T00:00:00.000000200Z",
        "service": "s",
        "exception.stacktrace": JAVA,
    }
    chain.feed([orjson.dumps(record)], "json")
    (row,) = chain.grouped[-1].exceptions.rows(named=True)
    ask = ExceptionCommand(0, row["tenant"], "s", row["fingerprint"], "ignore", 300, "ann", times=2)
    (told,) = chain.logics[0].on_batch([ask])
    state = orjson.loads(told.exceptions["group"][0])
    assert (state["state"], state["said_by"]) == ("ignored", "ann")
    assert told.records.schema == GROUPED_LOGS
    chain.restart()
    later = orjson.dumps(record | {"time": "1970-01-01T00:00:00.000000400Z"})
    chain.feed([later], "json")
    assert len(chain.events) == 1
    chain.feed([later], "json")
    assert [each["labels"]["alertname"] for each in chain.events] == [
        "NewException", "ExceptionUnignored",
    ]  # fmt: skip


def test_groups_of_before_there_were_commands_are_read():
    old = {
        "fingerprint": "f", "title": "T", "culprit": "c", "sample": "s", "algorithm": 1, "first_seen": 5,
        "last_seen": 9, "count": 2, "state": "ongoing", "releases": ["1.2"], "resolved_at": 0,
        "resolved_in": "", "until_count": 0,
    }  # fmt: skip
    groups = ExceptionGroups(1, {"version": 1, "groups": [("t", "s", old)]})
    assert groups.get("t", "s", "f").releases == ["1.2"]
    assert groups.obey(asked("resolve", 7))[1] == ""


def test_groups_have_a_limit_and_survive_a_snapshot():
    groups = ExceptionGroups(1)
    assert groups.add("t", "s", group(releases=["1.2"]))
    assert not groups.add("t", "s", ExceptionGroup("g", "T", "c", "s", VERSION, 1, 1))
    again = ExceptionGroups(1, orjson.loads(orjson.dumps(groups.snapshot())))
    assert again.get("t", "s", "f") == group(releases=["1.2"])
    assert again.get("t", "s", "g") is None


def test_releases_are_in_the_order_of_their_numbers():
    releases = ["0.9", "1.0.0-alpha", "1.0.0-beta.2", "1.0", "1.2", "v1.10.1", "app@2.0.0"]
    for place, one in enumerate(releases):
        for other in releases[place + 1 :]:
            assert older_release(one, other)
            assert not older_release(other, one)
    assert not older_release("1.0", "1.0.0")


def test_batches_are_items_that_a_shard_is_named_by():
    chain = Chain(shards=7)
    items = chain.decoding(
        Polled(0, "logs", [b"app=x k=1", b"app=y k=2"], np.zeros(2, np.int32), np.arange(2))
    )
    assert {type(item) for item in items} == {LogBatch}
    assert all(0 <= item.shard < 7 for item in items)
