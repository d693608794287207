"""Reading the settings for a command."""

from __future__ import annotations

import os
from pathlib import Path

from flows.commands.failure import USAGE, CommandFailed
from flows.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Settings, SettingsError, load_settings

__all__ = ["read_settings", "source_of_settings"]


def read_settings(path: Path | None) -> Settings:
    """Return the settings in the file at ``path``, else as ``load_settings`` finds them.

    Raises:
        CommandFailed: they can't be used; the exit code is 2.
    """
    try:
        return load_settings(path)
    except SettingsError as error:
        raise CommandFailed(str(error), USAGE) from None


def source_of_settings(path: Path | None) -> str:
    """Return which file the settings are in, in words."""
    if path is not None or CONFIG_VARIABLE in os.environ:
        return str(path or os.environ[CONFIG_VARIABLE])
    if Path(DEFAULT_CONFIG).exists():
        return DEFAULT_CONFIG
    return f"defaults and environment (there is no {DEFAULT_CONFIG} here)"
