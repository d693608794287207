"""Settings of trained models: where they are, and how they come into force."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from flows.settings.values import Duration, WithSecretFiles
from models.signing import BadKey, Keys

__all__ = ["Models"]


class Models(WithSecretFiles):
    """Models that ``headrace retrain`` makes, and that the flow ``metrics`` takes up."""

    secrets = ("key", "private_key")
    path: Path = Path("artefacts")
    """Where they are; every host of the flow ``metrics`` has to see it."""
    key: SecretStr | None = Field(default=None)
    """With it models are signed (HMAC-SHA256), and those that are not are refused."""
    private_key: SecretStr | None = Field(default=None)
    """An Ed25519 key (PEM) that signs instead, where models are trained; needs ``cryptography``."""
    trusted: tuple[Path, ...] = ()
    """Public keys (PEM) whose models are taken up, and no others but those of the keys above."""
    lead: Duration = "5s"  # type: ignore[assignment]
    """How far ahead the event time of a promotion lies: until then every process has to hear of it."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        self.keys.verify()
        return self

    @property
    def keys(self) -> Keys:
        """With what models are signed, and whose are trusted.

        Raises:
            BadKey: a file can't be read.
        """
        try:
            trusted = tuple(path.read_bytes() for path in self.trusted)
        except OSError as error:
            raise BadKey(f"trusted: {error.filename}: {error.strerror}") from None
        return Keys(_bytes(self.key), _bytes(self.private_key), trusted)


def _bytes(secret: SecretStr | None) -> bytes | None:
    return None if secret is None else secret.get_secret_value().encode()
