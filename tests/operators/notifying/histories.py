"""What the notifier wrote of an incident, from its first alert to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from operators.notifying.command import alert_command, command_of, encode_command
from operators.notifying.correlation import Correlation, ServiceMap
from operators.notifying.journal import record_value
from operators.notifying.matchers import parse_matchers
from tests.operators.notifying.samples import HOUR, MINUTE, SECOND, START, World, alert, route

INTEGRATION = "ops/webhook[0]"


@dataclass
class History:
    """Messages of the notifications and the incidents topic, in their order."""

    notifications: list[bytes] = field(default_factory=list)
    incidents: list[bytes] = field(default_factory=list)

    @property
    def delivered(self) -> int:
        """How many notifications were delivered."""
        return sum(orjson.loads(one)["outcome"] == "delivered" for one in self.notifications)

    def take(self, world: World) -> None:
        """Take what has been written since the last time."""
        self.notifications += map(record_value, world.notifier.chronicle.records())
        self.incidents += [
            orjson.dumps(change.record) for change in world.notifier.incident_changes()
        ]


def history(start: int = START) -> History:
    """A database is slow, then the shop that needs it; Ann cares after two minutes.

    One notification can't be delivered; after ten minutes all is over.
    """
    needs = ServiceMap({"shop": ["db"]})
    world = World(
        route(group_by=("service",), group_interval=2 * MINUTE),
        correlation=Correlation(HOUR, services=needs, matchers=parse_matchers('service=~".+"')),
    )
    world.clock.advance((start - START) / SECOND)
    made = History()
    db = {"alertname": "Slow", "service": "db"}
    shop = {"alertname": "Errors", "service": "shop"}
    other = {"alertname": "Full", "disk": "sda"}
    world.happen(alert(db, since=start))
    world.wait_until(start + MINUTE)
    made.take(world)
    world.happen(alert(shop, since=start + MINUTE))
    world.wait_until(start + 2 * MINUTE)
    made.take(world)
    name = alert(db).fingerprint
    asked = alert_command("x", "ann", "acknowledge", at=world.clock.now(), alerts=(name,))
    world.notifier.obey(command_of(encode_command(asked)))
    made.take(world)
    world.receivers.down = {INTEGRATION}
    world.happen(alert(other, since=world.clock.now()))
    world.wait_until(start + 4 * MINUTE)
    made.take(world)
    world.receivers.down = set()
    world.wait_until(start + 9 * MINUTE)
    for labels, since in ((shop, MINUTE), (other, 2 * MINUTE)):
        world.happen(alert(labels, "resolved", since=start + since))
    world.wait_until(start + 10 * MINUTE)
    world.happen(alert(db, "resolved", since=start))
    world.wait_until(start + 20 * MINUTE)
    made.take(world)
    return made
