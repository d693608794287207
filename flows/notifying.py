"""From the notifier's settings: its tree of routes, what holds back alerts, and its channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flows.channels import channels_of
from flows.on_call import Subscription, schedules, subscriptions
from flows.receivers import integrations_of, own_channels, root_route
from flows.settings import NotifierSettings
from flows.settings.alertmanager.routes import RouteConfiguration
from operators.notifying.digest import Digest
from operators.notifying.escalation import Policy, only_on_call, with_escalations
from operators.notifying.flapping import Flapping
from operators.notifying.grouping import Integration, Route, Routing
from operators.notifying.holds import Holds
from operators.notifying.inhibition import InhibitRule
from operators.notifying.intervals import TimeInterval
from operators.notifying.matchers import Matchers, written
from operators.notifying.notification import Courier
from operators.notifying.rotas import Schedule
from operators.notifying.routes import Branch, tree_routing, walk
from sinks.channels.base import Channel
from sinks.channels.delivery import ChannelDelivery

__all__ = ["Plan", "channels", "plan"]

_SECOND = 1_000_000_000
_STEP_INTERVAL = 60 * _SECOND
_ALERTMANAGERS = Route(
    "{}", "{}", "", (), frozenset(), 30 * _SECOND, 300 * _SECOND, 14_400 * _SECOND
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the notifier goes by.

    ``courier`` makes what delivers; the rest is plain data.
    """

    root: Branch
    courier: Callable[[], Courier]
    rules: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    escalations: tuple[Policy, ...] = ()
    rotas: Mapping[str, Schedule] = field(default_factory=dict)
    calendars: tuple[Subscription, ...] = ()

    def routing(self) -> Routing:
        """Return the routing along the tree, and along the escalations beside it."""
        return with_escalations(tree_routing(self.root), self.escalations)

    def holds(self, settings: NotifierSettings) -> Holds:
        """Return what holds back alerts."""
        made = Holds(
            self.rules,
            self.intervals,
            ends_of_held=settings.ends_of_held,
            tells_brief=settings.tells_brief,
            flapping=[node.route.flapping for node in walk(self.root) if node.route.flapping],
        )
        made.also(only_on_call(made, self.rotas))
        for calendar in self.calendars:
            calendar.keep_up_to_date()
        return made


def plan(settings: NotifierSettings) -> Plan:
    """Return what the settings ask for.

    Raises:
        ValueError: a template or a calendar can't be used; the text names its place.
    """
    configuration = settings.configuration
    calendars = subscriptions(settings)
    rotas = schedules(settings, calendars)
    if configuration is None:
        own = integrations_of(settings)
        return Plan(
            Branch(root_route(settings)),
            lambda: ChannelDelivery(channels(settings)),
            escalations=_policies(settings, own),
            rotas=rotas,
            calendars=calendars,
        )
    channels(settings)  # says at the start what can't be used
    integrations = {
        receiver.name: tuple(
            Integration(
                f"{receiver.name}/{kind}[{index}]",
                channel.send_resolved,
                keeps_alive=kind == "alertmanager",
            )
            for kind, index, channel in receiver.channels()
        )
        for receiver in configuration.receivers
    }
    return Plan(
        _node(configuration.route, None, integrations, ""),
        lambda: ChannelDelivery(channels(settings)),
        tuple(inhibition.rule() for inhibition in configuration.inhibit_rules),
        configuration.intervals(),
        _policies(settings, integrations),
        rotas,
        calendars,
    )


def channels(settings: NotifierSettings) -> list[Channel]:
    """Return the channels of all receivers, wherever those are given.

    Raises:
        ValueError: a template can't be used, or a certificate can't be read; the text names the
            place.
    """
    if settings.configuration is None:
        return own_channels(settings)
    return channels_of(settings.configuration, settings.external_url)


def _policies(
    settings: NotifierSettings, integrations: Mapping[str, tuple[Integration, ...]]
) -> tuple[Policy, ...]:
    schedules = {one.name: one.receivers for one in settings.on_call}
    made = []
    for escalation in settings.escalations:
        routes = []
        for number, step in enumerate(escalation.steps):
            names = (step.receiver,) if step.receiver else schedules[step.on_call or ""]
            for name in dict.fromkeys(names):
                routes.append(
                    replace(
                        _ALERTMANAGERS,
                        id=f"escalation/{escalation.name}/{number}/{name}",
                        key=f"escalation/{escalation.name}/{number}",
                        receiver=name,
                        integrations=integrations[name],
                        group_wait=step.after,
                        group_interval=_STEP_INTERVAL,
                        repeat_interval=escalation.repeat_interval,
                        most_repeats=escalation.repeats,
                        escalates=True,
                        rota=step.on_call or "",
                    )
                )
        made.append(Policy(escalation.matchers, tuple(routes)))
    return tuple(made)


def _flapping(given: RouteConfiguration, above: Route) -> Flapping | None:
    if given.flapping is None:
        return above.flapping
    return None if given.flapping == "off" else given.flapping.rule()


def _digest(given: RouteConfiguration, above: Route) -> Digest | None:
    if given.digest is None:
        return above.digest
    return None if given.digest == "off" else given.digest.digest()


def _node(
    given: RouteConfiguration,
    parent: Route | None,
    integrations: Mapping[str, tuple[Integration, ...]],
    place: str,
) -> Branch:
    """Make a branch, which has from its parent what it does not say."""
    above = parent or _ALERTMANAGERS
    matchers: Matchers = given.all_matchers
    key = f"{above.key}/{written(matchers)}" if parent else written(matchers)
    receiver = given.receiver or above.receiver
    route = replace(
        above,
        id=f"{key}#{place}" if place else key,
        key=key,
        receiver=receiver,
        integrations=integrations[receiver],
        group_by=above.group_by if given.group_by is None else frozenset(given.group_by),
        group_wait=above.group_wait if given.group_wait is None else given.group_wait,
        group_interval=given.group_interval or above.group_interval,
        repeat_interval=given.repeat_interval or above.repeat_interval,
        mute=given.mute_time_intervals,
        active=given.active_time_intervals,
        flapping=_flapping(given, above),
        digest=_digest(given, above),
    )
    children = tuple(
        _node(child, route, integrations, f"{place}.{index}" if place else str(index))
        for index, child in enumerate(given.routes)
    )
    return Branch(route, matchers, given.goes_on, children)
