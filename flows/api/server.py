"""The API's server, on a thread of the process that holds the notifier's state."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from threading import RLock, Thread
from typing import Any, Final

import uvicorn

from flows.api.access import Access
from flows.api.alertmanager import Backstage
from flows.api.asking import Asking
from flows.api.service import application
from flows.notifying import plan
from flows.settings import Api, Settings
from operators.contracts.clock import SystemClock
from operators.contracts.durations import format_duration
from operators.notifying.matchers import Matchers
from operators.notifying.notifier import Notifier
from operators.notifying.routes import Branch, walk

__all__ = ["ApiError", "ApiServer", "serve_api", "shown"]

_log = logging.getLogger(__name__)

_RESOLVE_TIMEOUT: Final = 300_000_000_000


class ApiError(Exception):
    """The API can't listen where the settings say; the message names the key and a way out."""


class ApiServer:
    """Answers on a thread of its own, from the moment it is made."""

    def __init__(self, stage: Backstage, api: Api) -> None:
        self._asking = stage.asking
        listening = _listen(api.host, api.port)
        self.port = int(listening.getsockname()[1])
        configuration = uvicorn.Config(
            application(stage), log_config=None, access_log=False, lifespan="off"
        )
        self._server = uvicorn.Server(configuration)
        self._thread = Thread(target=self._server.run, args=([listening],), name="api", daemon=True)
        self._thread.start()
        _log.info("the API and the page are at http://%s:%d", api.host, self.port)

    def close(self) -> None:
        """Stop answering."""
        self._server.should_exit = True
        self._thread.join(5)
        self._asking.close()


def serve_api(settings: Settings) -> Callable[[Notifier, Any], ApiServer]:
    """Return what begins to answer questions about a notifier."""
    api = settings.notifier.api
    if api is None:
        raise ValueError("notifier.api is not in the settings")
    going_by = plan(settings.notifier)
    given = settings.notifier.configuration
    timeout = _RESOLVE_TIMEOUT if given is None else given.global_.resolve_timeout

    def serve(notifier: Notifier, lock: RLock) -> ApiServer:
        clock = SystemClock()
        stage = Backstage(
            notifier=notifier,
            lock=lock,
            clock=clock,
            asking=Asking(settings, notifier, lock),
            access=Access(api),
            receivers=tuple(dict.fromkeys(node.route.receiver for node in walk(going_by.root))),
            configuration=shown(going_by.root),
            resolve_timeout=timeout,
            started=clock.now(),
        )
        return ApiServer(stage, api)

    return serve


def shown(root: Branch) -> dict[str, Any]:
    """Return a tree of routes as an `alertmanager.yml` without secrets, as ``amtool`` reads it."""
    receivers = dict.fromkeys(node.route.receiver for node in walk(root))
    times = dict.fromkeys(
        name for node in walk(root) for name in (*node.route.mute, *node.route.active)
    )
    made: dict[str, Any] = {
        "route": _shown(root),
        "receivers": [{"name": name} for name in receivers],
    }
    if times:
        made["time_intervals"] = [{"name": name, "time_intervals": [{}]} for name in times]
    return made


def _shown(node: Branch) -> dict[str, Any]:
    route = node.route
    made: dict[str, Any] = {
        "receiver": route.receiver,
        "group_by": sorted(route.group_by),
        "group_wait": format_duration(route.group_wait),
        "group_interval": format_duration(route.group_interval),
        "repeat_interval": format_duration(route.repeat_interval),
    }
    if node.matchers:
        made["matchers"] = _texts(node.matchers)
    if node.goes_on:
        made["continue"] = True
    for key, names in (
        ("mute_time_intervals", route.mute),
        ("active_time_intervals", route.active),
    ):
        if names:
            made[key] = list(names)
    if node.children:
        made["routes"] = [_shown(child) for child in node.children]
    return made


def _texts(matchers: Matchers) -> list[str]:
    return [str(matcher) for matcher in matchers]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ApiError(
            f"notifier.api: cannot listen on {host}:{port}: {error.strerror}; write another port"
        ) from None
    listening.set_inheritable(True)
    return listening
