"""Alerts wait, fire, are kept and end as in Prometheus."""

import numpy as np

from operators.rules.alerts import AlertingRule
from operators.rules.evaluator import Evaluator
from operators.rules.files import parse_file
from operators.rules.groups import RuleGroup
from operators.rules.store import SeriesStore

MINUTE = 60_000


class World:
    """A rule group over a series ``m`` for each name, whose values are set minute by minute."""

    def __init__(self, rules: str, **group: str) -> None:
        more = "".join(f"  {key}: {value}\n" for key, value in group.items())
        (read,) = parse_file(f"groups:\n- name: g\n{more}  rules:\n{rules}", "f.yml")
        self.store = SeriesStore()
        self.plan = Evaluator(self.store)
        self.group = RuleGroup(read, self.plan, {"region": "eu"}, "http://h/p")
        self.time = 0

    def tick(self, **values: float):
        """Set values, evaluate a minute later, and return the states by series."""
        self.time += MINUTE
        rows = self.store.rows([{"__name__": "m", "x": name} for name in values])
        self.store.append(rows, np.full(len(rows), self.time), np.array(list(values.values())))
        self.plan.begin()
        self.done = self.group.evaluate(self.time)
        return self.states()

    def states(self) -> dict[str, str]:
        (rule,) = self.group.alerting
        return {alert.labels.get("x", ""): alert.state for alert in rule.active.values()}

    def series(self, text: str) -> dict[str, float]:
        frame = self.plan.expression(text).at(self.time)
        return {
            str(frame.sets.labels(int(row))): float(frame.values[row])
            for row in np.flatnonzero(frame.present)
        }


def alert(**more: str) -> str:
    rest = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"  - alert: A\n    expr: m > 1\n{rest}"


def changes(world: World) -> list[tuple[str, str]]:
    return [(change.alert.labels["x"], change.status) for change in world.done.changes]


def test_without_for_an_alert_fires_at_once_and_is_resolved_when_its_series_is_gone():
    world = World(alert())
    assert world.tick(a=2, b=0) == {"a": "firing"}
    assert changes(world) == [("a", "firing")]
    assert world.tick(a=2, b=2) == {"a": "firing", "b": "firing"}
    assert changes(world) == [("b", "firing")]
    assert world.tick(a=0, b=2)["a"] == "resolved"
    assert changes(world) == [("a", "resolved")]
    world.tick(a=0, b=2)
    assert changes(world) == []


def test_with_for_an_alert_waits_and_one_that_clears_is_dropped_silently():
    world = World(alert(**{"for": "2m"}))
    assert world.tick(a=2, b=2) == {"a": "pending", "b": "pending"}
    assert world.tick(a=2, b=0) == {"a": "pending"}
    assert changes(world) == []
    assert world.tick(a=2) == {"a": "firing"}


def test_a_resolved_alert_is_kept_for_a_quarter_of_an_hour():
    world = World(alert())
    world.tick(a=2)
    for _ in range(16):
        assert world.tick(a=0) == {"a": "resolved"}
    assert world.tick(a=0) == {}


def test_keep_firing_for_bridges_a_gap():
    world = World(alert(keep_firing_for="2m"))
    world.tick(a=2)
    assert world.tick(a=0) == {"a": "firing"}
    assert world.tick(a=0) == {"a": "firing"}
    assert world.tick(a=2) == {"a": "firing"}
    assert [world.tick(a=0)["a"] for _ in range(3)] == ["firing", "firing", "resolved"]


def test_going_over_the_limit_ends_all_alerts_and_fails_the_rule():
    world = World(alert(), limit="1")
    assert world.tick(a=2) == {"a": "firing"}
    assert world.tick(a=2, b=2) == {}
    assert world.done.failures[0].reason == "exceeded limit of 1 with 2 alerts"
    # Nobody is left to say that it ended.
    assert changes(world) == [("a", "resolved")]
    assert world.tick(a=2, b=2) == {}
    assert changes(world) == []
    assert world.tick(a=0, b=2) == {"b": "firing"}
    assert changes(world) == [("b", "firing")]


def test_queries_of_templates_look_at_the_time_of_the_evaluation_whatever_the_offset():
    text = "{s: '{{ $value }} {{ with query \"m\" }}{{ . | first | value }}{{ end }}'}"
    world = World(alert(annotations=text), query_offset="1m")
    world.tick(a=5, b=9)
    world.tick(b=8, a=7)
    found = [one.annotations["s"] for one in world.group.alerting[0].active.values()]
    # The first one is that of the first labels.
    assert sorted(found) == ["5 7", "9 7"]


def test_labels_and_annotations_are_rendered():
    rules = alert(
        labels="{level: '{{ if gt $value 5.0 }}high{{ else }}low{{ end }}', x: '', y: '{{ .Labels.x }}'}",
        annotations="{s: '{{ $externalLabels.region }} {{ externalURL }} {{ with query \"m\" }}{{ . | first | value }}{{ end }}'}",
    )
    world = World(rules)
    world.tick(a=7)
    (rule,) = world.group.alerting
    ((_, found),) = rule.active.items()
    assert found.labels == {"alertname": "A", "level": "high", "y": "a"}
    assert found.annotations == {"s": "eu http://h/p 7"}


def test_an_annotation_that_fails_says_so_and_the_alert_fires():
    world = World(alert(annotations="{s: '{{ query \"m{\" }}'}"))
    world.tick(a=2)
    (rule,) = world.group.alerting
    (found,) = rule.active.values()
    assert found.annotations["s"].startswith(
        "<error expanding template: line 1: error calling query"
    )


def test_two_series_that_make_the_same_alert_fail_the_rule():
    world = World(alert(labels="{x: same}"))
    world.tick(a=2, b=2)
    assert "same labelset after applying alert labels" in world.done.failures[0].reason


def test_alerts_are_series_of_their_own_and_end_with_markers():
    world = World(alert(**{"for": "1m"}))
    world.tick(a=2)
    labels = "'alertname': 'A', 'x': 'a'}"
    assert world.series("ALERTS") == {
        "{'__name__': 'ALERTS', 'alertname': 'A', 'alertstate': 'pending', 'x': 'a'}": 1
    }
    assert world.series("ALERTS_FOR_STATE") == {f"{{'__name__': 'ALERTS_FOR_STATE', {labels}": 60}
    world.tick(a=2)
    assert [name for name in world.series("ALERTS") if "firing" not in name] == []
    world.tick(a=0)
    assert world.series("ALERTS") == world.series("ALERTS_FOR_STATE") == {}


def test_rules_see_what_those_before_them_recorded_and_what_is_gone_is_marked():
    rules = "  - {record: 'r:sum', expr: 'sum(m) > 1', labels: {k: v}}\n  - {alert: B, expr: 'r:sum > 3'}\n"
    world = World(rules)
    world.tick(a=2, b=2)
    assert world.series("r:sum") == {"{'__name__': 'r:sum', 'k': 'v'}": 4}
    assert list(world.states().values()) == ["firing"]
    world.tick(a=0, b=0)
    assert world.series("r:sum") == {}
    assert list(world.states().values()) == ["resolved"]


def test_the_offset_of_a_group_looks_back():
    world = World(alert(), query_offset="1m")
    assert world.tick(a=2) == {}
    assert world.tick(a=0) == {"a": "firing"}


def test_an_alert_goes_on_from_a_snapshot():
    world = World(alert(**{"for": "2m"}))
    world.tick(a=2)
    world.tick(a=2)
    (rule,) = world.group.alerting
    fresh = AlertingRule(rule.rule, rule.evaluator)
    fresh.restore(rule.snapshot())
    world.group.rules[0] = fresh
    assert world.tick(a=2) == {"a": "firing"}


def test_two_recorded_series_that_become_one_fail_the_rule():
    world = World(f'  - {{record: r, expr: \'label_replace(m, "x", "", "x", ".*")\'}}\n{alert()}')
    world.tick(a=2, b=3)
    assert "same labelset" in world.done.failures[0].reason
