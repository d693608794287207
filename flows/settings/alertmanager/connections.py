"""How channels speak HTTP and TLS: who we are, whom we trust, and through which proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from flows.settings.alertmanager.scalars import Address, ConfigurationPart, WithSecrets, located

__all__ = ["Authorization", "BasicAuth", "HttpConfiguration", "TlsConfiguration"]


class Authorization(WithSecrets):
    """The header ``Authorization``."""

    secrets = ("credentials",)
    type: str = "Bearer"
    credentials: SecretStr | None = None


class BasicAuth(WithSecrets):
    """A name and a password."""

    secrets = ("username", "password")
    username: str = ""
    password: SecretStr = SecretStr("")


class TlsConfiguration(ConfigurationPart):
    """Whom to trust, and the certificate to show."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _is_there(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None:
            return None
        file = located(path, info)
        if not file.is_file():
            raise ValueError(f"cannot read {path}: no such file")
        return str(Path(file))

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class HttpConfiguration(WithSecrets):
    """What ``http_config`` says. Redirections are never followed: they would lose the message."""

    secrets = ("bearer_token",)
    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    bearer_token: SecretStr | None = None
    tls_config: TlsConfiguration = TlsConfiguration()
    proxy_url: Address | None = None
    proxy_from_environment: bool = False
    no_proxy: str = ""
    follow_redirects: bool = True
    enable_http2: bool = True
    http_headers: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = (self.authorization, self.basic_auth, self.bearer_token)
        if sum(one is not None for one in given) > 1:
            raise ValueError(
                "at most one of authorization, basic_auth and bearer_token may be given"
            )
        return self


def _host_and_port(value: object) -> str:
    text = str(value)
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ValueError(f'"{text}" is not an address (write mail.example.com:587)')
    return text


HostAndPort = Annotated[str, BeforeValidator(_host_and_port)]
