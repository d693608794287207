"""Settings of trained models: where they are, and how they come into force."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, model_validator

from flows.settings.values import Duration, WithSecretFiles
from models.shelf import Bucket, Directory, Shelf
from models.signing import BadKey, Keys

__all__ = ["Models"]


_S3: Final = "s3://"


class S3(WithSecretFiles):
    """How a bucket is reached; what is left out comes from ``AWS_…`` variables or a machine's role."""

    secrets = ("secret_access_key",)
    endpoint: str | None = Field(default=None, pattern="^https?://.")
    """Of what speaks S3's language; AWS's own if left out."""
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = Field(default=None)


class Models(WithSecretFiles):
    """Models that ``headrace retrain`` makes, and that the flow ``metrics`` takes up."""

    secrets = ("key", "private_key")
    path: str = "artefacts"
    """A directory, or ``s3://BUCKET/PREFIX``; every host of the flow ``metrics`` has to see it."""
    s3: S3 = S3()
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
        self.shelf()
        return self

    def shelf(self) -> Shelf:
        """Return where they are.

        Raises:
            ValueError: S3 is named without a bucket, or without what reads it.
        """
        if not self.path.startswith(_S3):
            return Directory(Path(self.path))
        bucket, _, prefix = self.path.removeprefix(_S3).partition("/")
        if not bucket:
            raise ValueError(f"path: {self.path} names no bucket")
        options = {
            "endpoint": self.s3.endpoint,
            "region": self.s3.region,
            "access_key_id": self.s3.access_key_id,
            "secret_access_key": self.s3.secret_access_key
            and self.s3.secret_access_key.get_secret_value(),
        }
        try:
            return Bucket(bucket, prefix.strip("/"), {k: v for k, v in options.items() if v})
        except ModuleNotFoundError as error:
            raise ValueError(f"path: S3 needs {error.name}: pip install 'headrace[s3]'") from None

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
