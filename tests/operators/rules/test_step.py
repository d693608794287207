"""The step of the rules: what alerts come of does not depend on how samples come."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from flows.settings import RuleSettings as RulesSettings
from operators.columns.batches import encode_batches
from operators.contracts.batch_form import SAMPLE_BATCHES
from operators.contracts.items import Events, Polled, Recorded, SampleBatch
from operators.contracts.watermark import Mark
from operators.kafka.low_water import LowWater
from operators.rules.explaining import explained
from operators.rules.files import FileGroup, Rule, RuleFileError, parse_file
from operators.rules.loading import RuleFiles
from operators.rules.placement import arranged, key_of, places_of
from operators.rules.sampling import SampleReading
from operators.rules.state_view import Board
from operators.rules.step import RulesLogic
from tests.flows.alerting_flow import remote_write
from tests.operators.rules.tapping import MS, Tapping, loaded

NOW = 1_767_225_600_000
PLACE = "samples/0"
RULES = """
groups:
- name: g
  interval: 30s
  rules:
  - record: total
    expr: sum(m)
  - alert: High
    expr: total > 12
    for: 1m
    annotations: {summary: "{{ $value }}"}
  - alert: Rising
    expr: sum by (i) (rate(m[2m])) > 0.01
    keep_firing_for: 1m
  - alert: Gone
    expr: absent(m{i="1"})
"""


class Shard:
    """The step of one shard (of several, if ``of`` says so) behind the tap, fed by polls."""

    def __init__(
        self,
        text: str | RuleFiles = RULES,
        readers: int = 1,
        watch: Any = None,
        number: int = 0,
        of: int = 1,
        **options: Any,
    ) -> None:
        self.number, self.of = number, of
        self.rules = loaded(text) if isinstance(text, str) else text
        self.watch = watch
        self.settings = RulesSettings(files=("x",), **options)
        self.low_water = LowWater()
        self.low_water.begin(PLACE, 0)
        self.topic: list[bytes] = []
        self.read_again: list[int] = []
        self.readers = readers
        self.sampling = SampleReading(self.rules, self.of, self.low_water)
        self.logic = self._logic(None)
        self.out: list[Any] = []

    def _logic(self, state: Any) -> RulesLogic:
        return RulesLogic(
            self.rules, self.settings, self.readers, 10 * 10**9, 4, self.low_water, state,
            ("default",), watch=self.watch,
        )  # fmt: skip

    def take(self, tapped: Sequence[Any]) -> None:
        """Take in what a tap gave, as one poll of the samples topic."""
        begin = len(self.topic)
        self.topic += [v for one in tapped for v in encode_batches(one.frame, SAMPLE_BATCHES)]
        self._poll(begin, {PLACE: Mark.CAUGHT_UP})

    def _poll(self, begin: int, marks: dict[str, Mark], *, replay: bool = False) -> None:
        values = self.topic[begin:]
        offsets = np.arange(begin, len(self.topic))
        partitions = np.zeros(len(values), np.int32)
        polled = Polled(0, "samples", values, partitions, offsets, marks, replay)
        batches = [item for item in self.sampling(polled) if isinstance(item, SampleBatch)]
        self.out += self.logic.on_batch([one for one in batches if one.shard == self.number])

    def crash(self) -> None:
        """Go on with a snapshot, and what the low-water mark says has to be read again."""
        state = self.logic.snapshot()
        begin = self.low_water.offset(PLACE, self.low_water.reached[1])
        self.low_water = LowWater()
        self.low_water.begin(PLACE, begin)
        self.sampling = SampleReading(self.rules, self.of, self.low_water)
        self.logic = self._logic(state)
        self.read_again.append(len(self.topic) - begin)
        if begin < len(self.topic):
            self._poll(begin, {}, replay=True)
        self._poll(len(self.topic), {PLACE: Mark.CAUGHT_UP})

    def events(self) -> list[bytes]:
        """Return the events, each once."""
        found = [
            event
            for item in self.out
            if isinstance(item, Events)
            for event in item.frame["event"].to_list()
        ]
        return sorted(dict.fromkeys(found))

    def told(self) -> list[tuple[float, str, str]]:
        """Return second, alert and status of each event."""
        made = []
        for event in map(orjson.loads, self.events()):
            at = np.datetime64((event["endsAt"] or event["startsAt"])[:-1], "ms").astype(int)
            made.append(((int(at) - NOW) / 1000, event["labels"]["alertname"], event["status"]))
        return sorted(made)


def message(second: float, *samples: tuple[str, float, float]) -> tuple[int, int, bytes]:
    """Return a message that comes at a second, with labels `i`, times and values of `m`."""
    rows = [({"__name__": "m", "i": i}, at, value) for i, at, value in samples]
    return 0, NOW + round(second * 1000), remote_write(rows, NOW / 1000)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
def test_events_are_the_same_to_the_byte_whatever_the_polls_their_order_and_the_crashes(
    seed: int,
) -> None:
    source = random.Random(seed)
    logs: list[list[tuple[int, int, bytes]]] = [[], []]
    for partition in (0, 1):
        for second in range(0, 900, 15):
            samples = [
                (str(series), second - source.choice([0, 0, 0, 1, 40]), source.random() * 5)
                for series in range(partition * 5, partition * 5 + 5)
                if source.random() < 0.9
            ]
            if samples:
                logs[partition].append((partition, *message(second, *samples)[1:]))

    def run(one_by_one: bool) -> list[bytes]:
        shard = Shard(readers=2)
        readers = [Tapping(shard.rules), Tapping(shard.rules)]
        places = [0, 0]
        for number, reader in enumerate(readers):
            shard.take(reader.poll([], {f"in/{number}": Mark.LIVE}, number))
        while left := [n for n in (0, 1) if places[n] < len(logs[n])]:
            number = left[0] if one_by_one else source.choice(left)
            cut = 1 if one_by_one else source.randint(1, 20)
            batch = logs[number][places[number] : places[number] + cut]
            places[number] += cut
            shard.take(readers[number].poll(batch, reader=number))
            if not one_by_one and source.random() < 0.1:
                shard.crash()
        shard.out += shard.logic.on_end()
        return shard.events()

    expected = run(one_by_one=True)
    assert expected
    assert run(one_by_one=False) == expected


def test_after_a_restart_only_what_rules_look_back_for_is_read_again():
    shard = Shard()
    reader = Tapping(shard.rules)
    for second in range(0, 2400, 30):
        shard.take(reader.poll([message(second, ("1", second, 1.0))]))
    shard.crash()
    shard.crash()
    # The lookback of five minutes, two of margin, and a poll or two.
    assert shard.read_again[1] <= 17


def test_points_that_come_two_minutes_late_leave_no_gap_and_make_nothing_flap():
    """All points come two minutes after their time; one source of two does, in a partition of its
    own; it does in a shared one."""
    text = RULES + "  - {alert: Slow, expr: 'rate(m[1m]) < 0.5'}\n"
    shard = Shard(text, readers=1)
    reader = Tapping(shard.rules)
    for second in range(0, 1200, 15):
        late = reader.poll([message(second + 120, ("1", second, float(second)))])
        shard.take(late)
    assert {name for _, name, _ in shard.told()} == {"High", "Rising"}
    assert all(status == "firing" for _, _, status in shard.told())

    two = Shard(text, readers=2)
    readers = [Tapping(two.rules), Tapping(two.rules)]
    for number, reader in enumerate(readers):
        two.take(reader.poll([], {f"in/{number}": Mark.LIVE}, number))
    for second in range(0, 1200, 15):
        two.take(readers[0].poll([message(second, ("1", second, float(second)))]))
        if second >= 120:
            _, at, value = message(second, ("2", second - 120, float(second - 120)))
            two.take(readers[1].poll([(1, at, value)], reader=1))
    assert {name for _, name, _ in two.told()} == {"High", "Rising"}
    assert all(status == "firing" for _, _, status in two.told())

    shared = Shard(text, disorder="2m")
    reader = Tapping(shared.rules)
    for second in range(0, 1200, 15):
        samples = [("1", second, float(second))]
        if second >= 120:
            samples.append(("2", second - 120, float(second - 120)))
        shared.take(reader.poll([message(second, *samples)]))
    assert shared.told()[:3] == two.told()[:3]
    assert all(status == "firing" for _, _, status in shared.told())


def test_series_that_ended_are_forgotten_and_alerts_stay():
    shard = Shard()
    reader = Tapping(shard.rules)
    for hour in range(4):
        for second in range(0, 3600, 60):
            at = hour * 3600 + second
            samples = [(f"{hour}-{n}", at, 1.0) for n in range(1000 if second < 600 else 10)]
            shard.take(reader.poll([message(at, *samples)]))
    running = shard.logic.tenants["default"]
    assert running.series < 1100
    assert [(name, status) for _, name, status in shard.told()] == [
        ("Gone", "firing"), ("High", "firing"), ("High", "resolved"), ("High", "firing"),
        ("High", "resolved"), ("High", "firing"), ("High", "resolved"), ("High", "firing"),
        ("High", "resolved"),
    ]  # fmt: skip
    recorded = [item for item in shard.out if isinstance(item, Recorded)]
    assert recorded[-1].frame["name"].to_list()


def test_rules_that_stay_keep_their_state_when_a_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "rules.yml"
    group = "groups:\n- name: g\n  interval: 30s\n  rules:\n"
    low = "  - {alert: Low, expr: 'm < 2', for: 2m, labels: {severity: page}}\n"
    high = "  - {alert: High, expr: 'm > 0'}\n"
    file.write_text(group + low)
    rules = RuleFiles([str(tmp_path / "*.yml")], interval=30_000)
    monkeypatch.setattr("operators.rules.loading._LOOK_SECONDS", 0.0)
    shard = Shard(rules)
    reader = Tapping(rules)

    def feed(begin: int, end: int) -> None:
        for second in range(begin, end, 15):
            shard.take(reader.poll([message(second, ("1", second, 1.0))]))

    feed(0, 75)
    file.write_text(group + high + low)
    feed(75, 165)
    file.write_text(group + "  - {alert: Low, expr: 'm <'}\n")  # It is said, and changes nothing.
    feed(165, 225)
    low_at, high_at = 120.0, 60.0
    assert shard.told() == [(high_at, "High", "firing"), (low_at, "Low", "firing")]
    file.write_text(group + high)
    feed(225, 300)
    firing = [(high_at, "High", "firing"), (low_at, "Low", "firing")]
    (ended,) = shard.told()[2:]
    # Nobody else would ever say so.
    assert shard.told()[:2] == firing
    assert ended[1:] == ("Low", "resolved")
    assert 200 <= ended[0] <= 240
    file.touch()
    assert rules().version == 3  # Of nothing else than before there is nothing to be made anew.
    monkeypatch.setattr("operators.rules.loading._LOOK_SECONDS", 3600.0)
    rules()
    file.write_text(group + low)
    assert rules().version == 3
    assert rules.read_again().version == rules().version == 4
    file.write_text(group + "  - {alert: Low, expr: 'm <'}\n")
    with pytest.raises(RuleFileError, match=r'rules.yml: group "g": rule 1 "Low": expr'):
        RuleFiles([str(file)])
    file.write_text(group + "  - {alert: Old, expr: 'avg_over_time(m[2d]) > 1'}\n")
    with pytest.raises(RuleFileError, match=r'rule "Old": it looks back .*longest_range'):
        RuleFiles([str(file)])


@pytest.mark.parametrize("crashes", [False, True])
def test_what_rules_leave_that_are_gone_ends_and_goes_on_where_one_of_the_name_is_left(
    crashes, tmp_path, monkeypatch
):
    file = tmp_path / "rules.yml"
    warning = "  - {alert: Twice, expr: 'm > 0', labels: {severity: warning}}\n"
    stays = (
        "  - {alert: Twice, expr: 'm > 0', labels: {severity: page}}\n"
        "  - {alert: Seen, expr: 'old'}\n"
    )
    old = "  - {record: old, expr: 'm'}\n  - {alert: Old, expr: 'm > 0'}\n"
    moved = "  - {alert: Moved, expr: 'm > 0', for: 1m}\n"
    group = "groups:\n- name: g\n  interval: 30s\n  rules:\n"
    file.write_text(group + old + warning + stays + moved)
    rules = RuleFiles([str(file)], interval=30_000)
    monkeypatch.setattr("operators.rules.loading._LOOK_SECONDS", 0.0)
    shard = Shard(rules)
    reader = Tapping(rules)
    for second in range(0, 195, 15):
        if second == 45:
            file.write_text(
                group + stays + group.replace("groups:\n", "").replace("g", "h", 1) + moved
            )
            if crashes:
                shard.crash()
        shard.take(reader.poll([message(second, ("1", second, 1.0))]))
    ended = {(name, status) for _, name, status in shard.told() if status == "resolved"}
    assert ended == {("Twice", "resolved"), ("Old", "resolved"), ("Seen", "resolved")}
    severities = [
        (event["labels"]["severity"], event["status"])
        for event in map(orjson.loads, shard.events())
        if event["labels"]["alertname"] == "Twice"
    ]
    assert sorted(severities) == [
        ("page", "firing"), ("warning", "firing"), ("warning", "resolved"),
    ]  # fmt: skip
    # It waits for a minute from its first time on, whatever its group is called.
    assert [at for at, name, _ in shard.told() if name == "Moved"] == [60.0]


def test_groups_stand_where_their_inputs_are_made_and_shards_are_even():
    text = "groups:\n" + "".join(
        f"- name: g{n}\n  rules:\n  - {{record: 'r{n}', expr: 'sum(m{n})'}}\n" for n in range(40)
    )
    text += "- name: last\n  rules:\n  - {alert: A, expr: 'r3 + r17 > ALERTS_FOR_STATE'}\n"
    shards = loaded(text, shards=4)().shards
    (home,) = [part for part in shards if any(group.name == "last" for group in part)]
    names = [group.name for group in home]
    assert names.index("last") > max(names.index("g3"), names.index("g17"))
    sizes = [len(part) for part in shards]
    assert sum(sizes) == 41
    assert max(sizes) <= 1.25 * 41 / 4 + 1
    # So they are when the set of rules doubles, though nothing moves.
    groups = groups_of_costs({f"g{n}": 3 for n in range(40)})
    places = places_of(groups, 4, places_of(groups[:20], 4))
    sizes = [list(places.values()).count(shard) for shard in range(4)]
    assert max(sizes) <= 1.25 * 40 / 4 + 1


def groups_of_costs(costs: dict[str, int]) -> list[FileGroup]:
    """Return groups by name, each of so many rules that need nothing of others."""
    text = "groups:\n" + "".join(
        f"- name: {name}\n  interval: 30s\n  rules:\n"
        + "".join(f"  - {{alert: {name}{n}, expr: 'm > {n}', for: 2m}}\n" for n in range(cost))
        for name, cost in costs.items()
    )
    return parse_file(text, "rules.yml")


COSTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 6), min_size=1)


@settings(max_examples=40, deadline=None)
@given(st.lists(COSTS, min_size=2, max_size=5))
def test_groups_that_stay_do_not_move_whatever_else_comes_and_goes(files):
    stood: dict[tuple[str, str], int] = {}
    for costs in files:
        groups = groups_of_costs(costs)
        places = places_of(groups, 3, stood)
        shards = arranged(groups, 3, places)
        assert {key_of(g): n for n, part in enumerate(shards) for g in part} == places
        assert len(places) == sum(map(len, shards)) == len(costs)
        assert all(stood.get(key, shard) == shard for key, shard in places.items())
        if not stood.keys() & places.keys():
            assert places == places_of(groups, 3)
        stood = places


def test_a_pending_alert_goes_on_when_other_groups_would_have_its_own_move(tmp_path, monkeypatch):
    monkeypatch.setattr("operators.rules.loading._LOOK_SECONDS", 0.0)
    mine = "groups:\n- name: mine\n  interval: 30s\n  rules:\n"
    mine += "  - {alert: Low, expr: 'm < 2', for: 2m}\n"

    def more(prefix: str, rules: int) -> str:
        return f"- name: {prefix}\n  rules:\n" + "".join(
            f"  - {{record: '{prefix}{n}', expr: 'sum(n{n})'}}\n" for n in range(rules)
        )

    def fresh(groups: list[FileGroup]) -> list[list[FileGroup]]:
        return arranged(groups, 2, places_of(groups, 2))

    def home(groups: Sequence[Sequence[FileGroup]]) -> int:
        return next(n for n, part in enumerate(groups) if any(g.name == "mine" for g in part))

    file = tmp_path / "rules.yml"
    file.write_text(mine)
    rules = RuleFiles([str(file)], shards=2, interval=30_000)
    first = home(rules().shards)
    # With these beside it, a start that knows nothing of before has it somewhere else.
    others = next(
        text
        for text in (more(f"other{n}", 3) for n in range(50))
        if home(fresh(parse_file(mine + text, str(file)))) != first
    )
    shards = [Shard(rules, number=number, of=2) for number in (0, 1)]
    reader = Tapping(rules)
    for second in range(0, 240, 15):
        if second == 75:
            file.write_text(mine + others)
        tapped = reader.poll([message(second, ("1", second, 1.0))])
        for shard in shards:
            shard.take(tapped)
    assert rules().version == 2
    assert [shard.told() for shard in shards] == [
        [(120.0, "Low", "firing")] if number == first else [] for number in (0, 1)
    ]


def test_what_needs_series_of_two_shards_has_both_and_nobody_moves(tmp_path, monkeypatch):
    monkeypatch.setattr("operators.rules.loading._LOOK_SECONDS", 0.0)
    text = "groups:\n"
    for name in "abcd":
        text += (
            f"- name: {name}\n  interval: 30s\n  rules:\n  - {{record: r{name}, expr: 'sum(m)'}}\n"
            f"  - {{alert: Low{name}, expr: 'r{name} < 2', for: 2m}}\n"
        )
    file = tmp_path / "rules.yml"
    file.write_text(text)
    rules = RuleFiles([str(file)], shards=2, interval=30_000)
    homes = {g.name: n for n, part in enumerate(rules().shards) for g in part}
    assert set(homes.values()) == {0, 1}
    one, other = (next(n for n, home in homes.items() if home == shard) for shard in (0, 1))
    watch = Board()
    shards = [Shard(rules, number=number, of=2, watch=watch) for number in (0, 1)]
    reader = Tapping(rules)
    for second in range(0, 300, 15):
        if second == 75:
            both = f"- name: z\n  interval: 30s\n  rules: [{{alert: Both, expr: 'r{one} + r{other} < 3'}}]\n"
            file.write_text(text + both)
        tapped = reader.poll([message(second, ("1", second, 1.0))])
        for shard in shards:
            shard.take(tapped)
        if second == 150:
            for shard in shards:
                shard.crash()
    told = sorted(line for shard in shards for line in shard.told())
    assert [line for line in told if line[1] != "Both"] == [
        (120.0, f"Low{name}", "firing") for name in "abcd"
    ]
    assert [(name, status) for _, name, status in told if name == "Both"] == [("Both", "firing")]
    assert len(rules().groups) == 5
    assert sum(map(len, rules().shards)) == 6
    shown = watch.rules({})["data"]["groups"]
    assert sorted(group["name"] for group in shown) == ["a", "b", "c", "d", "z"]


def test_a_threshold_of_the_settings_is_a_rule():
    asked = RulesSettings(
        shards=1,
        thresholds=[
            {"name": "Load", "expression": "m", "operator": ">=", "value": 3, "duration": "1m",
             "severity": "critical"}
        ]
    )  # fmt: skip
    shard = Shard(asked.loaded())
    reader = Tapping(shard.rules)
    for second in range(0, 300, 15):
        shard.take(reader.poll([message(second, ("1", second, 3.0 if second >= 60 else 2.9))]))
    (event,) = map(orjson.loads, shard.events())
    assert event["labels"] == {"alertname": "Load", "severity": "critical", "i": "1"}
    assert event["annotations"] == {"summary": "Load: 3 >= 3"}
    assert shard.told() == [(120.0, "Load", "firing")]
    with pytest.raises(ValueError, match=r"rules\.thresholds"):
        RulesSettings(thresholds=[{"name": "Bad", "expression": "m +", "value": 1}])


def exponential(second: int, count: int, *, delta: bool) -> tuple[int, int, bytes]:
    """Return a message with a histogram whose observations are all between 2 and 4."""
    data = MetricsData()
    metric = data.resource_metrics.add().scope_metrics.add().metrics.add(name="lat")
    metric.exponential_histogram.aggregation_temporality = 1 if delta else 2
    point = metric.exponential_histogram.data_points.add(
        count=count, sum=3.0 * count, time_unix_nano=(NOW + second * 1000) * MS
    )
    point.positive.offset = 1
    point.positive.bucket_counts.append(count)
    return 0, NOW + second * 1000, data.SerializeToString()


NATIVE = """
groups:
- name: g
  interval: 30s
  rules:
  - record: lat:rate
    expr: rate(lat[1m])
  - {alert: Half, expr: 'histogram_quantile(0.5, lat:rate) > 2', annotations: {at: '{{ $value }}'}}
  - {alert: Count, expr: 'histogram_count(lat:rate) > 0.1', annotations: {at: '{{ $value }}'}}
  - {alert: Mean, expr: 'histogram_avg(increase(lat[1m])) > 1', annotations: {at: '{{ $value }}'}}
  - {alert: Share, expr: 'histogram_fraction(2, 2.5, lat) > 0', annotations: {at: '{{ $value }}'}}
  - {alert: Sum, expr: 'max_over_time(histogram_sum(lat)[10m:30s]) > 1350'}
  - {alert: Many, expr: 'histogram_count(lat) > 450', for: 1m}
  - {alert: Before, expr: 'histogram_count(lat:rate offset 2m) > 0.1', annotations: {at: '{{ $value }}'}}
"""


@pytest.mark.parametrize("delta", [False, True])
def test_native_histograms_are_evaluated_also_over_restarts(delta, monkeypatch):
    monkeypatch.setattr("operators.rules.running._MANY", 4)
    shard = Shard(NATIVE)
    reader = Tapping(shard.rules, "otlp_proto")
    for number, second in enumerate(range(0, 1800, 15)):
        count = 4 if delta else 4 * (number + 1)
        shard.take(reader.poll([exponential(second, count, delta=delta)]))
        if second in (600, 1500):
            shard.crash()
    events = {event["labels"]["alertname"]: event for event in map(orjson.loads, shard.events())}
    assert len(shard.events()) == len(events) == 7
    values = {name: float(one["annotations"].get("at", "nan")) for name, one in events.items()}
    # Inside of a bucket observations are spread exponentially: half of them lie below 2 ** 1.5.
    assert values["Half"] == pytest.approx(2**1.5, rel=1e-12)
    # At 30 s there are three samples, which rose by 8 in 30 s; of the time before the first one
    # half an interval counts: 8 * 37.5 / 30 in the minute.
    assert values["Count"] == values["Before"] == pytest.approx(10 / 60, rel=1e-12)
    assert values["Mean"] == 3.0
    assert values["Share"] == pytest.approx(np.log2(2.5 / 2), rel=1e-12)
    # 113 deltas of 4 are 452, at 112 * 15 s.
    at = {name: second for second, name, _ in shard.told()}
    assert (at["Sum"], at["Many"]) == (1680.0, 1680.0 + 60)
    rule = Rule("Mean", True, "histogram_avg(increase(lat[1m])) > 1")
    parts = explained(shard.logic.tenants["default"].plan, rule, NOW + 1_770_000, {})
    last = pl.concat([item.frame for item in shard.out if isinstance(item, Recorded)]).row(
        -1, named=True
    )
    # What is recorded is 4 in 15 s, which is no whole number a second.
    assert (last["name"], last["kind"], last["count"]) == ("lat:rate", "delta_histogram", 0)
    assert last["sum"] == pytest.approx(12 / 15, rel=1e-9)
    assert last["mean"] == pytest.approx(3.0, rel=1e-12)
    assert last["last"] is last["min"] is last["rate"] is None
    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    assert {name: last[name] for name in shares} == pytest.approx(
        {n: 2 ** (1 + q) for n, q in shares.items()}, rel=1e-12
    )
    *_, (_, samples) = parts[-1].rows
    assert samples[-1] == (NOW + 1_770_000, "{count:476, sum:1428, (2,4]:476}")
    assert len(samples) == 4


def deltas(second: int, count: int) -> bytes:
    data = MetricsData()
    metric = data.resource_metrics.add().scope_metrics.add().metrics.add(name="jobs")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True
    metric.sum.data_points.add(as_int=count, time_unix_nano=(NOW + second * 1000) * MS)
    return data.SerializeToString()


def test_deltas_are_running_sums_to_rules_also_over_a_restart():
    text = "groups:\n- name: g\n  interval: 30s\n  rules:\n"
    text += "  - {alert: Many, expr: 'jobs_total >= 100'}\n"
    text += "  - {alert: Fast, expr: 'increase(jobs_total[2m]) > 50'}\n"
    for crashes in (False, True):
        shard = Shard(text)
        reader = Tapping(shard.rules, "otlp_proto")
        for second in range(0, 600, 15):
            count = 10 if 300 <= second < 420 else 1
            shard.take(reader.poll([(0, NOW + second * 1000, deltas(second, count))]))
            if crashes and second in (330, 390):
                shard.crash()
        # 20 until 300 s, then 10 each 15 s: 100 at 405 s. What seven steps of a range add counts
        # for eight: 2 + 5 x 10 at 360 s, 4 x 10 + 3 at 450 s.
        assert shard.told() == [
            (360.0, "Fast", "firing"), (420.0, "Many", "firing"), (450.0, "Fast", "resolved")
        ]  # fmt: skip


def test_a_partition_that_is_idle_holds_nobody_back_also_after_a_restart():
    shard = Shard(readers=2)
    readers = [Tapping(shard.rules), Tapping(shard.rules)]
    for number, reader in enumerate(readers):
        shard.take(reader.poll([], {f"in/{number}": Mark.LIVE}, number))
    shard.take(readers[1].poll([(1, *message(0, ("2", 0, 1.0))[1:])], reader=1))
    shard.take(readers[1].poll([], {"in/1": Mark.IDLE}, 1))
    for second in range(0, 600, 15):
        shard.take(readers[0].poll([message(second, ("1", second, 20.0))]))
        if second == 30:
            shard.crash()
    assert (60.0, "High", "firing") in shard.told()


def test_an_alert_whose_series_are_gone_is_kept_where_that_is_asked_for():
    text = "groups: [{name: g, interval: 30s, rules: [{alert: Low, expr: 'm < 2'}]}]"
    for keep in (False, True):
        board = Board()
        shard = Shard(text, watch=board, keep_unknown=keep)
        reader = Tapping(shard.rules)
        for second in range(0, 900, 15):
            samples = [("other", second, 5.0)]
            if second <= 300 or second > 840:
                samples.append(("1", second, 1.0 if second <= 300 else 3.0))
            shard.take(reader.poll([message(second, *samples)]))
            if second == 750:
                alerts = board.alerts({})["data"]["alerts"]
                assert [one["unknownSince"] for one in alerts] == [
                    "2026-01-01T00:10:00.000Z"
                ] * keep
        assert shard.told() == [
            (0.0, "Low", "firing"),
            (870.0 if keep else 600.0, "Low", "resolved"),
        ]


def test_series_beyond_the_limit_are_refused_and_those_that_are_there_flow_on(caplog):
    shard = Shard("groups: [{name: g, rules: [{alert: A, expr: 'count(m) > 3'}]}]", series=3)
    reader = Tapping(shard.rules)
    for second in range(0, 120, 15):
        samples = [(str(n), second, 1.0) for n in range(3 if second < 30 else 50)]
        shard.take(reader.poll([message(second, *samples)]))
    assert shard.logic.tenants["default"].series == 3
    assert shard.told() == []
    assert "more than 3 series (rules.series)" in caplog.text
