"""Slack's Web API as its documentation has it, as far as a bot that posts needs it.

https://docs.slack.dev/reference/methods: every answer is JSON with ``ok``, status 200 also for
faults; 429 with ``Retry-After`` for too many requests; methods that read take a query, those that
write JSON; metadata is returned where it is asked for; a message is known by channel and ``ts``.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

TOKEN = "xoxb-1234-secret"
_CHANGED = ("attachments", "text", "metadata")


@dataclass
class SlackServer:
    """A workspace with one channel; ``fault`` is what the next calls of a method answer."""

    server: HTTPServer
    channel: str = "C0123ABC"
    name: str = "ops"
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset({"chat:write", "channels:history", "channels:read"})
    delay: dict[str, float] = field(default_factory=dict)
    """Seconds that a method takes to answer after it has done what it does."""
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        for method in (
            "chat.postMessage", "chat.update", "conversations.history", "conversations.replies",
            "conversations.list", "auth.test",
        ):  # fmt: skip
            self.server.expect_request(f"/api/{method}").respond_with_handler(self.handle)

    @property
    def url(self) -> str:
        return self.server.url_for("/api")

    @property
    def parents(self) -> list[dict[str, Any]]:
        """Messages of the channel itself, in their order."""
        return [one for one in self.messages if "thread_ts" not in one]

    def thread(self, ts: str) -> list[dict[str, Any]]:
        """The answers to a message, in their order."""
        return [one for one in self.messages if one.get("thread_ts") == ts]

    def handle(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        self.calls.append(method)
        queue = self.faults.get(method, [])
        if queue:
            fault = queue.pop(0)
            if isinstance(fault, Response):
                return fault
            return _said({"ok": False, "error": fault})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _said({"ok": False, "error": "invalid_auth"})
        writes = method.startswith("chat.")
        assert request.method == ("POST" if writes or method == "auth.test" else "GET")
        given = json.loads(request.get_data() or b"{}") if writes else dict(request.args)
        with self._lock:
            answer = self._answer(method, given)
        time.sleep(self.delay.get(method, 0.0))
        return _said(answer)

    def _answer(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        needs = {
            "chat": "chat:write", "conversations.list": "channels:read",
            "conversations": "channels:history",
        }  # fmt: skip
        scope = needs.get(method) or needs.get(method.partition(".")[0])
        if scope is not None and scope not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": scope}
        do = {
            "auth.test": lambda _: {"ok": True, "user": "headrace", "team": "T"},
            "conversations.list": self._list,
            "conversations.history": lambda given: self._read(self.parents, given),
            "conversations.replies": self._replies,
            "chat.postMessage": self._post,
            "chat.update": self._update,
        }
        return do[method](given)

    def _list(self, _given: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "channels": [{"id": self.channel, "name": self.name}]}

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        for one in self.messages:
            if (given["channel"], given["ts"]) == (self.channel, one["ts"]):
                one |= {key: given[key] for key in _CHANGED if key in given}
                return {"ok": True, "channel": self.channel, "ts": one["ts"]}
        return {"ok": False, "error": "message_not_found"}

    def _replies(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in self.messages if given["ts"] in (one["ts"], one.get("thread_ts"))]
        return self._read(found, given) if found else {"ok": False, "error": "thread_not_found"}

    def _read(self, found: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
        if given["channel"] != self.channel:
            return {"ok": False, "error": "channel_not_found"}
        shown = [one for one in found if float(one["ts"]) > float(given.get("oldest", 0))]
        if given.get("include_all_metadata") != "true":
            shown = [{k: v for k, v in one.items() if k != "metadata"} for one in shown]
        return {"ok": True, "messages": shown[::-1][: int(given.get("limit", 100))]}

    def _post(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["channel"] not in (self.channel, self.name, f"#{self.name}"):
            return {"ok": False, "error": "channel_not_found"}
        if not given.get("text") and not given.get("attachments"):
            return {"ok": False, "error": "no_text"}
        known = {one["ts"] for one in self.messages}
        if "thread_ts" in given and given["thread_ts"] not in known:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"{time.time():.6f}"
        while ts in known:
            ts = f"{float(ts) + 1e-6:.6f}"
        self.messages.append({**given, "ts": ts})
        return {"ok": True, "channel": self.channel, "ts": ts}


def _said(answer: dict[str, Any]) -> Response:
    return Response(json.dumps(answer), content_type="application/json")
