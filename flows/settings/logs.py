"""Settings of logs: what is scrubbed, and how much is remembered."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from flows.settings.inputs import Tenant
from flows.settings.values import PositiveDuration, Section, WithSecretFiles
from operators.logs.scrubbing.rules import Action, Scrubber, ScrubbingError, ScrubbingRules

__all__ = ["LogSampling", "Logs", "Scrubbing"]


class Scrubbing(WithSecretFiles):
    """What is done with personal data and secrets."""

    actions: dict[str, Action] = Field(default_factory=dict)
    """By kind: ``mask``, ``hash``, ``truncate`` (addresses), ``drop`` or ``keep``. What is not named is
    masked, and addresses of the internet are truncated."""
    fields: tuple[str, ...] = ()
    """Further names of fields whose value is sensitive, whatever it is."""
    patterns: dict[str, str] = Field(default_factory=dict)
    """Further patterns, by name. They are of the kind whose time grows with the text, and no more."""
    hash_key: SecretStr | None = None
    dry_run: bool = False
    """Count what would be found, and change nothing."""

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        try:
            Scrubber(self.rules())
        except ScrubbingError as error:
            raise ValueError(str(error)) from None
        return self

    def rules(self) -> ScrubbingRules:
        """Return the rules."""
        key = self.hash_key.get_secret_value().encode() if self.hash_key else b""
        return ScrubbingRules(self.actions, self.fields, self.patterns, key, self.dry_run)


class LogSampling(Section):
    """Which records are stored where a template repeats; counts are of all."""

    most: int = Field(default=0, ge=0)
    """Records of a template in a minute that are stored, and one more that says how many were not; 0
    stores all."""
    below: Literal["info", "warn", "error", "fatal"] = "error"
    """Records of this severity or more are all stored, and so is what has an exception."""


class Logs(Section):
    """What the flow ``logs`` does."""

    shards: int = Field(default=8, ge=1, le=1024)
    """Keyed states; fixed for the life of a recovery store."""
    line_timeout: PositiveDuration = "5s"  # type: ignore[assignment]
    """Lines of a trace that come later after the one before, by Kafka's time, are not joined to it."""
    shapes: int = Field(default=10_000, ge=1)
    """Shapes of a service that are compared; lines beyond them share one template, ``(all else)``."""
    exceptions: int = Field(default=1_000, ge=1)
    """Groups of exceptions that a service may have."""
    own_code: tuple[str, ...] = ()
    """Beginnings of packages, modules or paths that are one's own, whatever they look like."""
    severity: str = Field(default="warning", min_length=1)
    """Label of the events: a new exception, one that is back, a new template of errors."""
    burst: int = Field(default=100, ge=0)
    """Lines of one template in a minute that may be a burst, if they are far more than before; 0 looks
    for none."""
    sampling: LogSampling = LogSampling()
    scrubbing: Scrubbing = Scrubbing()
    tenants: dict[Tenant, Scrubbing] = Field(default_factory=dict)
    """Scrubbing of tenants that have rules of their own."""
