"""OpenTelemetry's semantic conventions, the old names and the new as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["DATABASE", "MESSAGING", "PEER_KEYS", "VIRTUAL", "keys_of", "peer_of", "value_of"]

_RENAMED: Final[Mapping[str, str]] = {
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.scheme": "url.scheme",
    "http.target": "url.path",
    "http.user_agent": "user_agent.original",
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
    "db.system": "db.system.name",
    "db.name": "db.namespace",
    "db.operation": "db.operation.name",
    "db.statement": "db.query.text",
    "db.sql.table": "db.collection.name",
    "messaging.destination": "messaging.destination.name",
    "messaging.operation": "messaging.operation.type",
    "deployment.environment": "deployment.environment.name",
}
"""What an attribute was called before, and is called now."""
_OLD: Final = {new: old for old, new in _RENAMED.items()}

DATABASE: Final = "database"
MESSAGING: Final = "messaging_system"
VIRTUAL: Final = "virtual_node"

_DATABASE_KEYS: Final = ("db.namespace", "db.system.name")
_MESSAGING_KEYS: Final = ("messaging.destination.name", "messaging.system")
_PEERS: Final = ("peer.service", "server.address", "net.sock.peer.name", "net.peer.ip")


def keys_of(name: str) -> tuple[str, ...]:
    """Return all keys under which an attribute may stand, the newest first.

    >>> keys_of("http.status_code")
    ('http.response.status_code', 'http.status_code')
    """
    new = _RENAMED.get(name, name)
    return (new, _OLD[new]) if new in _OLD else (new,)


PEER_KEYS: Final = tuple(
    key for name in (*_DATABASE_KEYS, *_MESSAGING_KEYS, *_PEERS) for key in keys_of(name)
)
"""Keys of attributes that say whom a span calls."""


def value_of(attributes: Mapping[str, Any], name: str) -> str:
    """Return an attribute as text, under its new or old key; empty if there is none."""
    for key in keys_of(name):
        value = attributes.get(key)
        if value is not None and value != "":
            if isinstance(value, bool):
                return "true" if value else "false"
            return str(value)
    return ""


def _first(attributes: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((value for name in names if (value := value_of(attributes, name))), "")


def peer_of(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Return whom a span calls by its attributes, and what that is: a type of connection.

    Both are empty where nothing says so. A database is called by its name, as service_graph does.
    """
    if _first(attributes, _DATABASE_KEYS):
        return _first(attributes, ("peer.service", *_DATABASE_KEYS)), DATABASE
    if value_of(attributes, "messaging.system"):
        return _first(attributes, _MESSAGING_KEYS), MESSAGING
    peer = _first(attributes, _PEERS)
    return (peer, VIRTUAL) if peer else ("", "")
