"""How a command ends when it could not do what it was asked to."""

from __future__ import annotations

from typing import Final

__all__ = ["FAILED", "USAGE", "CommandFailed"]

FAILED: Final = 1
USAGE: Final = 2


class CommandFailed(Exception):
    """One line for the user: the thing, the place, the way out; never a secret.

    Attributes:
        exit_code: 1, something is wrong; 2, the command line or the settings are.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
