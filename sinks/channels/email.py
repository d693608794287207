"""Messages by SMTP, with TLS and a name and password where the server wants them."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from typing import Final

import aiosmtplib

from operators.contracts.clock import Clock, SystemClock
from operators.notifying.notification import Notification
from operators.templating import TemplateError
from sinks.base import in_a_line
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry, Unreachable
from sinks.channels.texts import Texts
from sinks.channels.texts.texts import Text

__all__ = ["EmailChannel", "EmailTexts", "MailServer"]

_IMPLICIT_TLS: Final = 465


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where messages are handed in. ``requires_tls`` refuses a server that can't encrypt."""

    host: str
    port: int
    hello: str = "localhost"
    username: str = ""
    password: str = ""
    requires_tls: bool = True
    tls: ssl.SSLContext | None = None
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class EmailTexts:
    """The texts of a message; ``headers`` are others than ``From`` and ``To``."""

    sender: Text
    to: Text
    headers: Mapping[str, Text]
    text: Text | None
    html: Text | None


class EmailChannel(Channel):
    """Hands messages in; the server's word that it has one is success.

    ``Message-ID`` is the same when a message is sent again; all messages of a group refer to the
    same one, so that readers show them together.
    """

    def __init__(
        self,
        name: str,
        server: MailServer,
        texts: Texts,
        fields: EmailTexts,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.timeout = server.timeout
        self._server = server
        self._texts = texts
        self._fields = fields
        self._clock = clock or SystemClock()

    async def send(self, notification: Notification) -> Outcome:
        """Send once."""
        try:
            message = self.message(notification)
        except TemplateError as error:
            return RefusedByReceiver(f"a template of {self.name}: {error}")
        except ValueError as error:
            return RefusedByReceiver(f"{self.name}: {error}")
        return await self._hand_in(message)

    async def reach(self) -> str:
        """Greet the server, encrypted and by name and password as a message would be, and leave.

        Raises:
            Unreachable: it is not there, or would take no message.
        """
        outcome = await self._hand_in(None)
        if not isinstance(outcome, Delivered):
            raise Unreachable(outcome.reason)
        return f"{self._server.host}:{self._server.port} lets us in; nothing was sent"

    def message(self, notification: Notification) -> EmailMessage:
        """Return the message.

        Raises:
            TemplateError: a template can't be rendered.
            ValueError: an address is none, or there is not exactly one sender.
        """
        data = self._texts.data(notification)
        fields = self._fields
        message = EmailMessage(SMTP)
        senders = _addresses(fields.sender(data))
        if len(senders) != 1:
            raise ValueError(f"there must be one sender, not {len(senders)}")
        message["From"] = senders
        message["To"] = _addresses(fields.to(data))
        for header, text in fields.headers.items():
            if header not in ("From", "To"):
                message[header] = " ".join(text(data).split())
        place = senders[0].domain or "localhost"
        if "Message-Id" not in message and notification.id:
            message["Message-ID"] = f"<{notification.id}@{place}>"
        if "References" not in message:
            thread = hash_of(notification.group_key)
            message["References"] = f"<{thread}@{place}>"
        now = datetime.fromtimestamp(self._clock.now() // 1_000_000_000, UTC)
        message["Date"] = format_datetime(now)
        plain = fields.text(data) if fields.text else ""
        rich = fields.html(data) if fields.html else ""
        if plain or not rich:
            message.set_content(plain)
            if rich:
                message.add_alternative(rich, subtype="html")
        else:
            message.set_content(rich, subtype="html")
        return message

    async def _hand_in(self, message: EmailMessage | None) -> Outcome:
        """Hand in a message, or only do all that comes before it."""
        server = self._server
        place = f"{server.host}:{server.port}"
        implicit = server.port == _IMPLICIT_TLS
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=implicit,
            start_tls=False,
            tls_context=server.tls,
            timeout=server.timeout,
            local_hostname=server.hello,
        )
        handed = False
        try:
            await client.connect()
            if not implicit:
                await client.ehlo()
                if client.supports_extension("starttls"):
                    await client.starttls(tls_context=server.tls)
                    await client.ehlo()  # what it offers now may be more, such as a login
                elif server.requires_tls:
                    return RefusedByReceiver(
                        f"{place} can't encrypt (no STARTTLS): allow that by require_tls: false, or "
                        "take another server"
                    )
            if server.username and client.supports_extension("auth"):
                await client.login(server.username, server.password)
            if message is None:
                return Delivered()
            handed = True
            await client.send_message(message)
        except aiosmtplib.SMTPAuthenticationError as error:
            return RefusedByReceiver(f"{place} refuses the name or the password ({error.code})")
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            return _judged(place, error)
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError) as error:
            return Retry(
                f"{place}: {in_a_line(f'{type(error).__name__}: {error}')}", perhaps=handed
            )
        finally:
            client.close()
        return Delivered()


def hash_of(text: str) -> str:
    """Return a short name of a text that is the same everywhere."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _judged(place: str, error: aiosmtplib.SMTPException) -> Outcome:
    """What 4xx says may pass; what 5xx says will not."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
        said = ", ".join(f"{refused.recipient} ({refused.code})" for refused in error.recipients)
    else:
        codes = [getattr(error, "code", 0)]
        said = f"{codes[0]} {in_a_line(getattr(error, 'message', ''))}"
    reason = f"{place} answered {said}"
    return RefusedByReceiver(reason) if all(500 <= code < 600 for code in codes) else Retry(reason)


def _addresses(text: str) -> list[Address]:
    found = []
    for name, spec in getaddresses([text]):
        if "@" not in spec:
            raise ValueError(f'"{text}" is not a list of mail addresses')
        found.append(Address(name, addr_spec=spec))
    if not found:
        raise ValueError("there is no mail address")
    return found
