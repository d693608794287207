"""The channels of an `alertmanager.yml`, against real counterparts: SMTP servers, HTTP servers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flows.channels import channels_of
from flows.settings.alertmanager import AlertmanagerConfiguration
from operators.notifying.notification import Notification
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry, Unreachable
from tests.backends.process import free_port
from tests.operators.notifying.samples import MINUTE, START, alert
from tests.sinks.notifications import notification

EXTERNAL_URL = "http://headrace.example"
FIRING = alert(
    {"alertname": "Slow", "severity": "page", "host.name": "web-1"},
    annotations={"summary": "4 s & <more>"},
    generator_url="http://rules/1",
)
RESOLVED = alert({"alertname": "Slow", "severity": "page", "host.name": "web-2"}, "resolved")


def channel(kind: str, options: dict[str, Any], **common: Any) -> Channel:
    """The channel of a configuration that has no other."""
    configuration = AlertmanagerConfiguration.model_validate(
        {
            "global": common,
            "route": {"receiver": "ops"},
            "receivers": [{"name": "ops", f"{kind}_configs": [options]}],
        }
    )
    (made,) = channels_of(configuration, EXTERNAL_URL)
    return made


def send(one: Channel, told: Notification) -> Outcome:
    async def once() -> Outcome:
        try:
            return await one.send(told)
        finally:
            await one.close()

    return asyncio.run(once())


# Mail.


@dataclass
class Mailbox:
    """A mail server that takes what it may, with names and passwords and TLS where asked for."""

    directory: Path
    tls: bool = True
    login: bool = False
    answer: str = "250 OK"
    received: list[Envelope] = field(default_factory=list)

    def __post_init__(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        self.authority = self.directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = None
        if self.tls:
            import ssl  # noqa: PLC0415

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
        self.controller = Controller(
            self,
            hostname="localhost",
            port=free_port(),
            tls_context=context,
            authenticator=self.authenticate if self.login else None,
            auth_required=self.login,
            auth_require_tls=self.tls,
        )
        self.controller.start()

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        right = isinstance(given, LoginPassword) and given.password == b"pass-word"
        return AuthResult(success=right, handled=right)  # or it says nothing

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.received.append(envelope)
        return self.answer

    def message(self) -> EmailMessage:
        (envelope,) = self.received
        made = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
        assert isinstance(made, EmailMessage)
        return made

    def mail(self, **options: Any) -> Channel:
        given = {
            "to": "Ops <ops@example.org>, night@example.org",
            "from": "headrace@example.org",
            "smarthost": f"localhost:{self.controller.port}",
            "tls_config": {"ca_file": str(self.authority)},
            **options,
        }
        return channel("email", given)


@pytest.fixture
def mailbox(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    made = Mailbox(tmp_path, **getattr(request, "param", {}))
    yield made
    made.controller.stop()


def test_mail_goes_out_encrypted_with_the_subject_of_alertmanager(mailbox: Mailbox) -> None:
    told = notification(FIRING, RESOLVED)
    assert send(mailbox.mail(headers={"X-Team": "{{ .Status }}"}), told) == Delivered()
    message = mailbox.message()
    assert message["Subject"] == "[FIRING:1] Slow (page)"
    assert message["To"] == "Ops <ops@example.org>, night@example.org"
    assert message["X-Team"] == "firing"
    assert mailbox.received[0].rcpt_tos == ["ops@example.org", "night@example.org"]
    html = message.get_content()
    assert "4 s &amp; &lt;more&gt;" in html
    assert 'href="http://rules/1"' in html


def test_mail_has_a_text_beside_the_html_if_there_is_one(mailbox: Mailbox) -> None:
    send(mailbox.mail(text="{{ len .Alerts }} alerts"), notification(FIRING))
    body = mailbox.message().get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "1 alerts"


@pytest.mark.parametrize("mailbox", [{"login": True}], indirect=True)
def test_mail_is_handed_in_with_a_name_and_a_password(mailbox: Mailbox) -> None:
    right = mailbox.mail(auth_username="ops", auth_password="pass-word")
    assert send(right, notification(FIRING)) == Delivered()
    outcome = send(
        mailbox.mail(auth_username="ops", auth_password="secret-x"), notification(FIRING)
    )
    assert isinstance(outcome, RefusedByReceiver)
    assert "refuses the name or the password" in outcome.reason
    assert "secret-x" not in outcome.reason


@pytest.mark.parametrize("mailbox", [{"login": True}], indirect=True)
def test_a_mail_server_can_be_asked_whether_it_would_take_a_message(mailbox: Mailbox) -> None:
    right = mailbox.mail(auth_username="ops", auth_password="pass-word")
    assert asyncio.run(right.reach()) == (
        f"localhost:{mailbox.controller.port} lets us in; nothing was sent"
    )
    wrong = mailbox.mail(auth_username="ops", auth_password="secret-x")
    with pytest.raises(Unreachable, match="refuses the name or the password"):
        asyncio.run(wrong.reach())
    assert mailbox.received == []


@pytest.mark.parametrize("mailbox", [{"tls": False}], indirect=True)
def test_mail_does_not_go_out_in_the_clear_unless_that_is_allowed(mailbox: Mailbox) -> None:
    outcome = send(mailbox.mail(), notification(FIRING))
    assert isinstance(outcome, RefusedByReceiver)
    assert "require_tls: false" in outcome.reason
    assert send(mailbox.mail(require_tls=False), notification(FIRING)) == Delivered()


def test_mail_is_not_handed_to_a_server_that_nobody_vouches_for(mailbox: Mailbox) -> None:
    outcome = send(mailbox.mail(tls_config={}), notification(FIRING))
    assert isinstance(outcome, Retry)
    assert mailbox.received == []


@pytest.mark.parametrize(
    ("mailbox", "kind"),
    [({"answer": "451 try later"}, Retry), ({"answer": "554 no"}, RefusedByReceiver)],
    indirect=["mailbox"],
)
def test_what_a_mail_server_says_tells_whether_to_try_again(
    mailbox: Mailbox, kind: type[Retry] | type[RefusedByReceiver]
) -> None:
    outcome = send(mailbox.mail(), notification(FIRING))
    assert isinstance(outcome, kind)
    assert mailbox.answer[:3] in outcome.reason


def test_mail_to_a_server_that_is_away_is_tried_again(tmp_path: Path) -> None:
    one = channel(
        "email", {"to": "a@b.c", "from": "x@y.z", "smarthost": f"localhost:{free_port()}"}
    )
    outcome = send(one, notification(FIRING))
    assert isinstance(outcome, Retry)
    assert not outcome.perhaps


# HTTP.


@dataclass
class Service:
    """The other end of a channel over HTTP."""

    server: HTTPServer
    answer: Response = field(default_factory=lambda: Response("ok"))
    received: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/in").respond_with_handler(self.take)
        self.server.expect_request("/in/api/v2/alerts").respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        request.get_data()
        self.received.append(request)
        return self.answer

    @property
    def url(self) -> str:
        return self.server.url_for("/in")

    def body(self) -> Any:
        (request,) = self.received
        return json.loads(request.get_data())


@pytest.fixture
def service(httpserver: HTTPServer) -> Service:
    return Service(httpserver)


def test_pagerduty_is_told_in_the_format_of_its_events(service: Service) -> None:
    options = {
        "routing_key": "r-key",
        "url": service.url,
        "severity": "{{ .CommonLabels.severity }}",
        "class": "c",
        "details": {"runbook": "http://wiki"},
        "links": [{"href": "http://a", "text": "b"}, {"href": "", "text": "none"}],
    }
    service.answer = Response("{}", 202)
    assert send(channel("pagerduty", options), notification(FIRING)) == Delivered()
    body = service.body()
    key = '{}:{alertname="Slow"}'
    assert body["dedup_key"] == hashlib.sha256(key.encode()).hexdigest()
    assert (body["routing_key"], body["event_action"]) == ("r-key", "trigger")
    assert body["links"] == [{"href": "http://a", "text": "b"}]
    assert "images" not in body
    payload = body["payload"]
    assert (payload["severity"], payload["class"]) == ("page", "c")
    assert payload["summary"] == "[FIRING:1] Slow (web-1 page)"
    assert payload["custom_details"]["num_firing"] == "1"
    assert payload["custom_details"]["runbook"] == "http://wiki"


def test_pagerduty_s_incident_ends_with_the_key_that_began_it(service: Service) -> None:
    options = {"routing_key": "r", "url": service.url}
    send(channel("pagerduty", options), notification(FIRING))
    send(channel("pagerduty", options), notification(RESOLVED))
    first, last = (json.loads(request.get_data()) for request in service.received)
    assert (first["dedup_key"], last["event_action"]) == (last["dedup_key"], "resolve")


def test_pagerduty_s_older_events_are_spoken_too(service: Service) -> None:
    one = channel("pagerduty", {"service_key": "s-key", "url": service.url})
    assert send(one, notification(FIRING)) == Delivered()
    body = service.body()
    assert (body["service_key"], body["event_type"]) == ("s-key", "trigger")
    assert body["description"] == "[FIRING:1] Slow (web-1 page)"
    assert body["details"]["num_firing"] == "1"
    service.answer = Response("slow down", 403)
    assert isinstance(send(channel("pagerduty", {"service_key": "s", "url": service.url}),
                           notification(FIRING)), Retry)  # fmt: skip


def test_pagerduty_gets_no_more_than_it_takes(service: Service) -> None:
    huge = [alert({"alertname": "Slow", "host": f"{n}-{'x' * 500}"}) for n in range(1500)]
    options = {"routing_key": "r", "url": service.url, "description": "y" * 2000}
    send(channel("pagerduty", options), notification(*huge))
    (request,) = service.received
    assert len(request.get_data()) < 512_000
    body = service.body()
    assert "maximum size" in body["payload"]["custom_details"]["error"]
    assert len(body["payload"]["summary"]) == 1024


def test_a_webhook_with_a_secret_is_signed_as_standard_webhooks(service: Service) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    one = channel("webhook", {"url": service.url, "secret": secret})
    told = Notification(**{**_fields(notification(FIRING)), "id": "n-1"})
    send(one, told)
    (request,) = service.received
    signed = f"n-1.{request.headers['webhook-timestamp']}.".encode() + request.get_data()
    expected = base64.b64encode(hmac.new(b"k" * 24, signed, "sha256").digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert request.headers["webhook-id"] == "n-1"


def _fields(told: Notification) -> dict[str, Any]:
    return {name: getattr(told, name) for name in told.__slots__}


@pytest.mark.parametrize(
    ("http_config", "header"),
    [
        ({"authorization": {"credentials": "t-1"}}, "Bearer t-1"),
        ({"authorization": {"type": "Key", "credentials": "t-2"}}, "Key t-2"),
        ({"bearer_token": "t-3"}, "Bearer t-3"),
        ({"basic_auth": {"username": "u", "password": "p"}}, "Basic dTpw"),
    ],
)
def test_a_channel_says_who_it_is(
    service: Service, http_config: dict[str, Any], header: str
) -> None:
    send(channel("webhook", {"url": service.url, "http_config": http_config}), notification(FIRING))
    assert service.received[0].headers["Authorization"] == header


def test_apprise_speaks_to_a_service_by_its_address(service: Service) -> None:
    address = service.url.replace("http://", "json://")
    assert send(channel("apprise", {"url": address}), notification(FIRING)) == Delivered()
    body = service.body()
    assert body["title"] == "[FIRING:1] Slow (web-1 page)"
    assert "summary = 4 s" in body["message"]
    service.answer = Response("no", 500)
    assert isinstance(send(channel("apprise", {"url": address}), notification(FIRING)), Retry)


def test_an_alertmanager_is_told_with_names_that_it_takes(service: Service) -> None:
    send(channel("alertmanager", {"url": service.url}), notification(FIRING, RESOLVED))
    first, second = service.body()
    assert first["labels"]["host_name"] in ("web-1", "web-2")
    assert "host.name" not in first["labels"]
    over = next(one for one in (first, second) if one["labels"]["host_name"] == "web-2")
    assert over["endsAt"] == "2026-09-21T14:14:20Z"
    assert (START + MINUTE) % 60_000_000_000 == START % 60_000_000_000


def test_slack_cuts_its_title_and_leaves_out_what_is_empty(service: Service) -> None:
    options = {"api_url": service.url, "channel": "#x", "title": "t" * 2000, "image_url": ""}
    send(channel("slack", options), notification(FIRING))
    body = service.body()
    (attachment,) = body["attachments"]
    assert len(attachment["title"]) == 1024
    assert "image_url" not in attachment
    assert body["channel"] == "#x"


def test_a_template_that_fails_is_the_channel_s_fault_not_the_notifier_s(service: Service) -> None:
    options = {"api_url": service.url, "text": "{{ index .Alerts 7 }}"}
    outcome = send(channel("slack", options), notification(FIRING))
    assert isinstance(outcome, RefusedByReceiver)
    assert "a template of ops/slack[0]: " in outcome.reason


# What can't be used is said with its place.

WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown function": (
        "slack",
        {"api_url": "http://a", "title": "{{ nope }}"},
        r'receivers\[0\]\.slack_configs\[0\]\.title: line 1: function "nope" not defined',
    ),
    "a template that is not there": (
        "slack",
        {"api_url": "http://a", "fields": [{"title": "a", "value": '{{ template "x" . }}'}]},
        r'slack_configs\[0\]\.fields\[0\]\.value: line 1: there is no template "x"',
    ),
    "an action that is not closed": (
        "email",
        {"to": "a@b.c", "from": "a@b.c", "smarthost": "h:25", "html": "{{ .Status"},
        r"email_configs\[0\]\.html: line 1: ",
    ),
    "a service that Apprise does not know": (
        "apprise",
        {"url": "pigeon://secret-coop"},
        r"apprise_configs\[0\]\.url: Apprise knows no service of such an address \(pigeon://",
    ),
}


@pytest.mark.parametrize(("kind", "options", "message"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_used_is_refused_at_the_start_with_its_place(
    kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        channel(kind, options)
    assert "secret-coop" not in str(refused.value)
