"""Which lines of a poll are looked at, how far event time is by them, and when windows are told."""

import numpy as np

from flows.settings import Logs
from operators.contracts.clock import ManualClock
from operators.contracts.items import LogBatch, Polled, SpanLines
from operators.contracts.watermark import Mark
from operators.logs.courses.changing import ChangingLogic
from operators.logs.courses.span_lines import LINES_LAG, SpanLineReading
from operators.logs.decoding import EncodedLogs, LogDecoding
from tests.flows.test_log_causes import message

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
AT = 1_767_225_600 * SECOND


def reading(shards=2):
    topics = {"logs": EncodedLogs("otlp_proto", "default")}
    decoding = LogDecoding(topics, {"": Logs().scrubbing.rules()}, shards=shards)
    return SpanLineReading(decoding, ("logs",), shards=shards, disorder=2 * SECOND)


def polled(lines, offset=0, came=None, marks=None, partition=0):
    """Return a poll of a message of lines: time, service, trace, span and text."""
    times = np.array([came or max(line[0] for line in lines)])
    return Polled(
        0, "logs", [message(lines)], np.array([partition], np.int32), np.array([offset]), marks or {},
        times=times,
    )  # fmt: skip


def lines_in(read, poll):
    return [item for item in read(poll) if isinstance(item, SpanLines)]


def without_span(*lines):
    return [(at, service, 0, 0, text) for at, service, text in lines]


def test_lines_of_spans_go_to_the_shard_of_their_service_with_names_and_texts():
    read = reading()
    first = [(AT, "a", 1, 7, "took 5 ms"), (AT + 1, "a", 1, 7, "took 9 ms"), (AT, "b", 1, 8, "x")]
    items = lines_in(read, polled(first))
    assert {item.shard for item in items} == {0, 1}
    rows = np.concatenate([item.rows for item in items])
    assert sorted(rows["ts"].tolist()) == [AT, AT, AT + 1]
    assert len(set(rows["span"].tolist())) == 2
    assert {names for item in items for names in item.names.values()} == {
        ("default", "a"), ("default", "b"),
    }  # fmt: skip
    assert sorted(text for item in items for _, _, text in item.texts) == ["took *", "x"]
    again = lines_in(read, polled(first, 1))
    assert [item.texts for item in again] == [(), ()]


def test_event_time_is_that_of_the_lines_or_a_little_less_than_that_in_kafka():
    read = reading()
    (one, _) = lines_in(read, polled([(AT, "a", 1, 7, "x")], came=AT + 60 * SECOND))
    assert one.largest == {"logs/0": AT}
    late = AT + 70 * SECOND
    (two, _) = lines_in(read, polled(without_span((AT, "a", "x")), 1, came=late))
    assert two.largest == {"logs/0": late - LINES_LAG}
    # A line that is ahead of its message moves event time no further than that.
    (three, _) = lines_in(read, polled([(late + 30 * SECOND, "a", 2, 7, "x")], 2, came=late))
    assert three.largest == {"logs/0": late}
    far = lines_in(read, polled([(late + 90 * SECOND, "a", 3, 7, "x")], 3, came=late))
    assert [len(item.rows) for item in far] == [0, 0]


def test_what_is_too_late_is_said_by_the_order_of_the_partition_however_it_is_polled():
    lines = [(AT + 20 * SECOND, "a", 1, 7, "x"), (AT + 8 * SECOND, "a", 2, 7, "x"), (AT + 7 * SECOND, "a", 3, 7, "x")]  # fmt: skip

    def kept(polls):
        read = reading(1)
        items = [item for poll in polls for item in lines_in(read, poll)]
        return sorted(np.concatenate([item.rows for item in items])["ts"].tolist())

    newest = AT + 21 * SECOND
    together = kept([polled(lines, came=newest)])
    alone = kept([polled([line], number, came=newest) for number, line in enumerate(lines)])
    assert together == alone == [AT + 8 * SECOND, AT + 20 * SECOND]


def test_services_of_other_shards_in_the_same_poll_make_no_line_late():
    lines = [
        (AT + at * SECOND, service, at + 1, 7, "x")
        for at in range(0, 300, 5) for service in ("a", "b", "c", "d", "e")
    ]  # fmt: skip
    for shards in (1, 4):
        items = lines_in(reading(shards), polled(lines))
        assert len({item.shard for item in items if len(item.rows)}) > 1 or shards == 1
        rows = np.concatenate([item.rows for item in items])
        assert sorted(rows["ts"].tolist()) == [line[0] for line in lines]


def test_a_poll_may_become_several_batches_of_a_shard():
    """Lines that waited for more do."""
    whole = reading(1)
    decoding = whole._decoding

    def in_parts(poll):
        (batch,) = decoding(poll)
        middle = batch.records.height // 2
        parts = batch.records[:middle], batch.records[middle:]
        return [LogBatch(batch.shard, part, batch.texts) for part in parts]

    lines = [(AT + at, "a", at + 1, 7, "x") for at in range(6)]
    parted = SpanLineReading(in_parts, ("logs",), shards=1, disorder=2 * SECOND)
    (one,), (other,) = lines_in(whole, polled(lines)), lines_in(parted, polled(lines))
    assert one.rows.tolist() == other.rows.tolist()
    assert (one.names, one.texts, one.largest) == (other.names, other.texts, other.largest)


def test_marks_of_other_topics_hold_nothing_back_and_are_not_lost():
    read = reading(1)
    marks = {"logs/0": Mark.LIVE, "commands/0": Mark.CAUGHT_UP}
    empty = Polled(0, "", [], np.empty(0, np.int32), np.empty(0, np.int64), marks)
    (item,) = lines_in(read, empty)
    assert item.marks == {"logs/0": Mark.LIVE}
    of_others = Polled(1, "", [], np.empty(0, np.int32), np.empty(0, np.int64), {"commands/1": Mark.LIVE})  # fmt: skip
    assert [one.reader for one in lines_in(read, of_others)] == [1]


def spans(first, last, texts, each=4):
    """Return lines of spans of service ``a``, so many in a window of ten seconds."""
    return [
        (at + step * 1000, "a", at, 7, text)
        for window in range(first, last)
        for number in range(each)
        for at in [AT + window * WINDOW + number * WINDOW // each]
        for step, text in enumerate(texts)
    ]


def test_a_window_is_told_once_all_partitions_are_past_it_and_a_restart_changes_nothing():
    def play(restart):
        logic = ChangingLogic(WINDOW, 2, 2 * SECOND, 30 * SECOND, ManualClock(), None)
        read, told, offset = reading(1), [], 0
        # The second reader has no partition, and says so once.
        none = Polled(1, "", [], np.empty(0, np.int32), np.empty(0, np.int64))
        logic.on_batch(lines_in(read, none))
        newest = {0: 0, 1: 0}
        usual, failing = spans(0, 10, ("begin", "work", "done")), spans(10, 16, ("begin", "threw"))
        for at in range(16):
            for partition in (0, 1):
                some = [
                    line
                    for line in (*usual, *failing)
                    if (line[0] - AT) // WINDOW == at and line[2] // (WINDOW // 4) % 2 == partition
                ]
                poll = polled(some, offset, partition=partition, marks={
                    f"logs/{number}": Mark.LIVE for number in (0, 1)
                } if not offset else None)  # fmt: skip
                offset += 1
                newest[partition] = some[-1][0]
                for found in logic.on_batch(lines_in(read, poll)):
                    told += [(min(newest.values()), change) for change in found.changes]
            if restart:
                state = logic.snapshot()
                logic = ChangingLogic(WINDOW, 2, 2 * SECOND, 30 * SECOND, ManualClock(), state)
                # The reader names its partitions again.
                again = {f"logs/{number}": Mark.LIVE for number in (0, 1)}
                empty = Polled(0, "", [], np.empty(0, np.int32), np.empty(0, np.int64), again)
                logic.on_batch([*lines_in(read, empty), *lines_in(read, none)])
        told += [(0, change) for found in logic.on_end() for change in found.changes]
        return told

    told = play(restart=False)
    assert told
    # When both partitions are past the end of the window, by what spans last and lines may lag.
    live = [(reached, change.until) for reached, change in told if reached]
    assert live
    assert all(reached >= until + 5 * SECOND + 12 * SECOND for reached, until in live)
    changes = [change for _, change in told]
    assert {(one.service, one.event, one.next) for one in changes} == {("a", "begin", "threw")}
    assert play(restart=True) == told


def test_a_poll_without_spans_is_looked_at_no_further():
    (item,) = lines_in(reading(1), polled(without_span((AT, "a", "x"), (AT, "b", "y"))))
    assert (len(item.rows), item.names, item.texts, item.levels) == (0, {}, (), None)
