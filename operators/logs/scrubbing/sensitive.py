"""What in a text is personal data or a secret: a pattern for each kind, and what confirms it.

The patterns are applied to the texts that ``operators.logs.scrubbing.suspicion`` points at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final

from operators.logs.scrubbing.check_digits import NATIONAL_IDS, is_card, is_iban

__all__ = [
    "FIELD_ENDINGS",
    "FIELD_NAMES",
    "KINDS",
    "Kind",
    "is_public_address",
    "truncated_address",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sensitive text.

    Attributes:
        pattern: a regular expression. Where it has named groups, the one that matched is what is
            sensitive, else all of it.
        apart: it must stand apart: no letter, digit or ``_`` touches it, also not with a dot or
            hyphen between; nor is a hyphen before it.
        confirm: says whether a match is one.
    """

    pattern: str
    apart: bool = False
    confirm: Callable[[str], bool] | None = None

    def compile(self) -> re.Pattern[str]:
        """Return the expression."""
        if not self.apart:
            return re.compile(self.pattern)
        word = "[A-Za-z0-9_]"
        return re.compile(
            rf"(?<!{word})(?<!-)(?<!{word}\.)(?:{self.pattern})(?!{word})(?![.-]{word})"
        )


@lru_cache(1 << 16)
def is_public_address(text: str) -> bool:
    """Return whether a text is an address of the internet, of no private network."""
    try:
        return ip_address(text).is_global
    except ValueError:
        return False


@lru_cache(1 << 16)
def truncated_address(text: str) -> str:
    """Return an address without what tells one connection from its neighbours: its last part.

    >>> truncated_address("203.0.113.7"), truncated_address("2001:db8:1:2::7")
    ('203.0.113.0', '2001:db8:1::')
    """
    try:
        if ":" not in text:
            return str(IPv4Address(int(IPv4Address(text)) & ~0xFF))
        return str(IPv6Address(int(IPv6Address(text)) >> 80 << 80))
    except AddressValueError:
        return text


def _is_no_word(text: str) -> bool:
    """Return whether a text is more than a word: it has a digit, or capitals within."""
    return bool(re.search(r"[0-9=]|[a-z][A-Z]", text))


# A key may be quoted, in JSON within a text also with escapes.
_QUOTE: Final = r"""\\*["']?"""
_CONFIDENTIAL: Final = (
    "passw(?:or)?d|passphrase|pwd|secret|api[_.-]?key|access[_.-]?key(?:[_.-]?id)?|account[_.-]?key|"
    "(?:auth|access|refresh|id|session|csrf|api|bearer)?[_.-]?token|client[_.-]?secret|"
    "private[_.-]?key|credentials?|sessionid|session[_.-]id|jsessionid|phpsessid|set-cookie|cookie"
)
_CARD_STARTS: Final = "(?:4[0-9]|5[0-8]|2[2-7]|3[0-9]|6[0-9])"

KINDS: Final[Mapping[str, Kind]] = {
    "private_key": Kind(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?P<value>[\s\S]*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)"
    ),
    "jwt": Kind(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    "url_password": Kind(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#\"'<>]*:(?P<value>[^\s/\"'<>]+)@"),
    "authorization": Kind(
        rf"(?i)authorization{_QUOTE}\s?[:=]\s?{_QUOTE}(?:[a-z]+ )?(?P<value>[^\s\"',;]{{6,}})"
    ),
    "bearer": Kind(
        r"(?i)(?:bearer|basic|digest|negotiate|apikey)[ +]+(?P<value>[a-z0-9._~+/=-]{8,})",
        confirm=_is_no_word,
    ),
    "key_value": Kind(
        rf"(?i)(?:{_CONFIDENTIAL}){_QUOTE}\s?[=:]\s?"
        r"(?:\\*\"(?P<value>[^\"\\]+)|'(?P<other>[^']+)|(?P<third>[^\s&,;\"'()\[\]{}<>]+))"
    ),
    "cloud_key": Kind(
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
        r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
        r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}"
        r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|hv[sb]\.[A-Za-z0-9_-]{24,}|dop_v1_[a-f0-9]{64}"
    ),
    "email": Kind(
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}",
        apart=True,
    ),
    "iban": Kind(
        r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?",
        apart=True,
        confirm=is_iban,
    ),
    "card": Kind(
        rf"{_CARD_STARTS}[0-9]{{2}}(?:[0-9]{{9,15}}|([ -])[0-9]{{4}}[ -][0-9]{{4}}[ -][0-9]{{1,4}}(?:[ -][0-9]{{3}})?"
        r"|[ -][0-9]{6}[ -][0-9]{4,5})",
        apart=True,
        confirm=is_card,
    ),
    "phone": Kind(
        r"\+[1-9](?:[ ./()-]{0,2}[0-9]){7,14}|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}"
        r"|[0-9]{3}-[0-9]{3}-[0-9]{4}",
        apart=True,
    ),
    **{
        f"national_id_{country}": Kind(pattern, apart=True, confirm=confirm)
        for country, (pattern, confirm) in NATIONAL_IDS.items()
    },
    "ip": Kind(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", apart=True, confirm=is_public_address),
    "ipv6": Kind(
        r"(?<![:.A-Za-z0-9_])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![A-Za-z0-9_:])",
        confirm=is_public_address,
    ),
}
"""The kinds, in the order in which they are looked for: what is found is gone for the later ones."""

FIELD_NAMES: Final = (
    "password", "passwd", "pwd", "secret", "token", "access_token", "refresh_token", "id_token",
    "api_key", "apikey", "x-api-key", "authorization", "proxy-authorization", "cookie", "set-cookie",
    "client_secret", "private_key", "session_id", "sessionid", "card_number", "credit_card", "cvv",
    "cvc", "iban", "ssn", "social_security_number", "passport_number", "date_of_birth",
)  # fmt: skip
"""Names of fields whose value is sensitive, whatever it is; compared without case, ``_`` and ``-``."""

FIELD_ENDINGS: Final = (
    "password", "passwd", "passphrase", "secret", "apikey", "privatekey", "accesskey", "authtoken",
    "accesstoken", "refreshtoken", "credentials",
)  # fmt: skip
"""What the names of further such fields end with: ``DB_PASSWORD``, ``aws.secret_access_key``."""
