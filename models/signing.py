"""Signatures of models: by a key that is shared (HMAC-SHA256), or by a pair of keys (Ed25519).

Who has the shared key can sign. Of a pair the private key signs, and whoever takes up models needs the
public one alone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

__all__ = ["UNSIGNED", "BadKey", "Foreign", "Keys"]

UNSIGNED: Final = "unsigned"
_SHARED: Final = "hmac-sha256"
_PAIR: Final = "ed25519"


class BadKey(ValueError):
    """A key that can't be used; the text says which and why, and nothing of the key."""


class Foreign(ValueError):
    """A signature that is none of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Keys:
    """With what models are signed, and whose are trusted.

    Attributes:
        shared: signs, and is trusted.
        private: signs instead; PEM, PKCS 8, of Ed25519. Its public key is trusted.
        trusted: public keys; PEM, of Ed25519.
    """

    shared: bytes | None = None
    private: bytes | None = None
    trusted: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, key: bytes | Keys | None) -> Keys:
        """Return the keys; bytes are one that is shared."""
        return key if isinstance(key, Keys) else cls(key)

    @property
    def are_there(self) -> bool:
        """Whether a model has to be signed."""
        return bool(self.shared or self.private or self.trusted)

    def verify(self) -> None:
        """Make sure that all can be used.

        Raises:
            BadKey: one can't.
        """
        self._public()

    def sign(self, line: bytes) -> str:
        """Return the signature of a line: its kind and its value; or that it is unsigned.

        Raises:
            BadKey: the key can't be used.
        """
        if self.private is not None:
            return f"{_PAIR} {_private(self.private).sign(line).hex()}"
        if self.shared is not None:
            return f"{_SHARED} {hmac.new(self.shared, line, hashlib.sha256).hexdigest()}"
        return UNSIGNED

    def check(self, line: bytes, signature: str) -> bool:
        """Return whether a line is signed by one of the keys; False if there is none to ask.

        Raises:
            Foreign: it is not.
            BadKey: a key can't be used.
        """
        if not self.are_there:
            return False
        kind, _, value = signature.partition(" ")
        if kind == UNSIGNED:
            raise Foreign("it is not signed, and models.key is set: retrain with that key")
        if kind == _SHARED and self.shared is not None:
            mine = hmac.new(self.shared, line, hashlib.sha256).hexdigest()
            if hmac.compare_digest(value.encode(), mine.encode()):
                return True
        if kind == _PAIR and (self.private or self.trusted) and self._is_of_pair(line, value):
            return True
        raise Foreign("its signature is not of models.key, or it was altered")

    def _is_of_pair(self, line: bytes, value: str) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - it is optional

        try:
            written = bytes.fromhex(value)
        except ValueError:
            return False
        if written.hex() != value:  # the same bytes may be written in other ways
            return False
        for key in self._public():
            try:
                key.verify(written, line)
            except InvalidSignature:
                continue
            return True
        return False

    def _public(self) -> list[Ed25519PublicKey]:
        own = [] if self.private is None else [_private(self.private).public_key()]
        return own + [_trusted(pem) for pem in self.trusted]


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
        )
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_private_key,
        )
    except ImportError:
        raise BadKey(_lacks("models.private_key")) from None
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey("models.private_key: no private key of Ed25519 in PEM without a password")
    return key


def _trusted(pem: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_public_key,
        )
    except ImportError:
        raise BadKey(_lacks("models.trusted")) from None
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey("models.trusted: no public key of Ed25519 in PEM")
    return key


def _lacks(setting: str) -> str:
    return f"{setting} needs the package cryptography: `pip install cryptography`"
