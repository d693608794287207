"""Escalations: whom to tell next while nobody acknowledges, and who is on call.

A step is a route beside the tree: its group waits as long as the step is to come after the alert,
and then tells its receiver, unless the alert is over, held back or acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from operators.notifying.dedup import Reason
from operators.notifying.flapping import Flapping
from operators.notifying.grouping import Route, Routing
from operators.notifying.holds import Holds
from operators.notifying.matchers import Matchers, matches
from operators.notifying.rotas import Schedule
from operators.notifying.stages import Passage, Stage

__all__ = ["Policy", "only_on_call", "with_escalations"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The steps for alerts of some kind: a route a step and receiver."""

    matchers: Matchers
    steps: tuple[Route, ...]


def with_escalations(routing: Routing, policies: Sequence[Policy]) -> Routing:
    """Return a routing that also leads to the steps of the policies that match."""
    if not policies:
        return routing

    def routes(labels: Mapping[str, str]) -> Sequence[Route]:
        taken = routing(labels)
        steps = [
            _like(taken[0], step)
            for policy in policies
            if matches(policy.matchers, labels)
            for step in policy.steps
        ]
        return [*taken, *steps]

    known: dict[tuple[str, frozenset[str], Flapping | None], Route] = {}

    def _like(first: Route, step: Route) -> Route:
        """A step groups, and damps what flaps, as the first route does that an alert takes."""
        key = step.id, first.group_by, first.flapping
        if key not in known:
            known[key] = replace(step, group_by=first.group_by, flapping=first.flapping)
        return known[key]

    return routes


def only_on_call(holds: Holds, rotas: Mapping[str, Schedule]) -> Stage:
    """Return the stage that holds back what a receiver would be told while another is on call.

    The end of what it was told it is told all the same.
    """

    holds.rotas = rotas

    def stage(passage: Passage) -> Reason | None:
        rota = rotas.get(passage.route.rota)
        if rota is None or passage.route.receiver in rota.on_call(passage.now):
            return None
        believed = passage.entry.believed if passage.entry else frozenset()
        return holds.take_out(
            passage, Reason.NOT_ON_CALL, lambda alert: alert.fingerprint not in believed
        )

    return stage
