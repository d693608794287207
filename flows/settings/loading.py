"""Reading the settings: the file, the environment over it, and one line for what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from flows.settings.inputs import Enrichment, Input, Kafka, Series
from flows.settings.limits import Limits
from flows.settings.notifying import Notifier
from flows.settings.running import Monitoring, Run, Topics
from flows.settings.sinks import Sinks
from flows.settings.windows import Rollups, Scoring
from operators.durations import format_duration

__all__ = ["CONFIG_VARIABLE", "DEFAULT_CONFIG", "Settings", "SettingsError", "load_settings"]

CONFIG_VARIABLE = "HEADRACE_CONFIG"
DEFAULT_CONFIG = "headrace.yaml"
PREFIX = "HEADRACE__"


class SettingsError(Exception):
    """The settings cannot be used; the message names the file, the key and what to write."""


class Settings(BaseSettings):
    """All settings, as the file and the environment give them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    kafka: Kafka = Kafka()
    inputs: tuple[Input, ...] = (Input(topic="otlp_metrics"),)
    series: Series = Series()
    enrichment: Enrichment = Enrichment()
    limits: Limits = Limits()
    rollups: Rollups = Rollups()
    scoring: Scoring = Scoring()
    sinks: Sinks = Sinks()
    run: Run = Run()
    topics: Topics = Topics()
    notifier: Notifier = Notifier()
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scoring.window is not None and self.scoring.window not in self.rollups.windows:
            raise ValueError(
                f"scoring.window: {format_duration(self.scoring.window)} is not in rollups.windows"
            )
        topics = [entry.topic for entry in self.inputs]
        if len(set(topics)) != len(topics):
            raise ValueError("inputs: two have the same topic")
        return self

    @property
    def judged(self) -> int:
        """Length in nanoseconds of the windows whose rollups are scored."""
        return self.scoring.window or self.rollups.windows[0]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which comes in as the initial values."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: the file; without it ``$HEADRACE_CONFIG``, else ``headrace.yaml`` if there is one.

    Raises:
        SettingsError: a file that cannot be read, an unknown key, a value that does not fit.
    """
    named = path or (Path(os.environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in os.environ else None)
    file = named or Path(DEFAULT_CONFIG)
    values: Any = {}
    if named is not None or file.exists():
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise SettingsError(
                f"{file}: cannot be read: {error.strerror} (set {CONFIG_VARIABLE} to its path)"
            ) from None
        except yaml.YAMLError as error:
            raise SettingsError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: must be a mapping of sections, as kafka: {{…}}")
    _refuse_unknown_variables()
    try:
        return Settings(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise SettingsError(_first_line(error, str(file))) from None


def _refuse_unknown_variables() -> None:
    """A misspelt section in a variable's name would otherwise be ignored without a word."""
    for variable in os.environ:
        if variable.startswith(PREFIX):
            section = variable.removeprefix(PREFIX).split("__")[0].lower()
            if section not in Settings.model_fields:
                raise SettingsError(
                    f'{variable}: there is no section "{section}" '
                    f"(there are: {', '.join(Settings.model_fields)})"
                )


def _first_line(error: ValidationError, file: str) -> str:
    """Say the first fault in one line: where, which key, what is wrong."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ""
    for part in fault["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f"{'.' if key else ''}{part}"
    path = [str(part).upper() for part in fault["loc"]]
    variables = [PREFIX + "__".join(path[:depth]) for depth in range(len(path), 0, -1)]
    place = next((name for name in variables if name in os.environ), file)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
    elif fault["type"] == "missing":
        message = f"missing (write it there, or set {variables[0]})" if variables else "missing"
    return f"{place}: {key}: {message}" if key else f"{place}: {message}"
