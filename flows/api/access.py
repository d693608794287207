"""Who calls, and what they may: tokens with a role, or a name that a reverse proxy vouches for."""

from __future__ import annotations

import base64
import binascii
import hmac

from fastapi import HTTPException, Request

from flows.settings import Api

__all__ = ["Access"]


class Access:
    """Decides on requests by the settings; without tokens and proxy everybody may do everything."""

    def __init__(self, settings: Api) -> None:
        self._settings = settings
        self._open = not settings.tokens and not settings.user_header

    def reads(self, request: Request) -> str:
        """Return who asks to read.

        Raises:
            HTTPException: nobody who may.
        """
        return self._asker(request, writes=False)

    def writes(self, request: Request) -> str:
        """Return who asks to change something.

        Raises:
            HTTPException: nobody who may.
        """
        return self._asker(request, writes=True)

    def _asker(self, request: Request, *, writes: bool) -> str:
        if self._open:
            return ""
        header = self._settings.user_header
        if header and (user := request.headers.get(header)):
            writers = self._settings.writers
            if writes and writers and user not in writers:
                raise HTTPException(403, f"{user} may read, but not write")
            return user
        given = _token(request)
        for token in self._settings.tokens:
            if given and hmac.compare_digest(token.token.get_secret_value().encode(), given):
                if writes and token.role != "write":
                    raise HTTPException(403, f"the token {token.name} may read, but not write")
                return token.name
        raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer, Basic"})


def _token(request: Request) -> bytes:
    """Return the bearer token, or the password of a name: amtool and browsers can send that."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
