"""Reading the settings: the file, the environment over it, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as NotParsed

from flows.settings.inputs import Enrichment, Input, Kafka, Series
from flows.settings.limits import Limits
from flows.settings.logs import Logs
from flows.settings.models import Models
from flows.settings.notifying import NotifierSettings
from flows.settings.rules import RuleSettings
from flows.settings.running import Monitoring, Run, Storage, Topics
from flows.settings.sinks import Sinks
from flows.settings.traces import Traces, Tracing
from flows.settings.windows import Rollups, Scoring
from operators.contracts.durations import format_duration
from operators.scoring.signals import Vector
from operators.traces.rules import KeepingRules

__all__ = ["CONFIG_VARIABLE", "DEFAULT_CONFIG", "Settings", "SettingsError", "load_settings"]

CONFIG_VARIABLE = "HEADRACE_CONFIG"
DEFAULT_CONFIG = "headrace.yaml"
PREFIX = "HEADRACE__"


_WORDS = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be text (in quotes, if it looks like a number)",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be a path",
}
"""What a value must be, instead of the names of Python's types."""


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
    models: Models = Models()
    sinks: Sinks = Sinks()
    logs: Logs = Logs()
    traces: Traces = Traces()
    rules: RuleSettings = RuleSettings()
    storage: Storage = Storage()
    run: Run = Run()
    topics: Topics = Topics()
    notifier: NotifierSettings = NotifierSettings()
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for at, vector in enumerate(self.scoring.vectors):
            if vector.window is not None and vector.window not in self.rollups.windows:
                raise ValueError(
                    f"scoring.vectors[{at}].window: {format_duration(vector.window)} is not in "
                    "rollups.windows"
                )
        if self.scoring.window is not None and self.scoring.window not in self.rollups.windows:
            raise ValueError(
                f"scoring.window: {format_duration(self.scoring.window)} is not in rollups.windows"
            )
        topics = [entry.topic for entry in self.inputs]
        if len(set(topics)) != len(topics):
            raise ValueError("inputs: two have the same topic")
        return self

    def inputs_of(self, signal: str) -> tuple[Input, ...]:
        """Return the inputs that bring a signal: ``metrics``, ``logs`` or ``traces``."""
        return tuple(entry for entry in self.inputs if entry.signal == signal)

    @property
    def tracing(self) -> Tracing:
        """What the flow ``traces`` needs to know to count spans."""
        rollups = self.rollups
        return Tracing(
            window=rollups.windows[0],
            hold=self.traces.hold,
            disorder=rollups.disorder,
            partition_lag=rollups.partition_lag,
            evict_after=rollups.evict_after,
            series_shards=self.traces.shards,
            shards=self.traces.shards,
            sampling=self._keeping,
        )

    @property
    def _keeping(self) -> KeepingRules | None:
        chosen = self.traces.sampling
        if chosen is None:
            return None
        return KeepingRules(
            chosen.errors,
            chosen.slow or 0,
            chosen.rest,
            chosen.max_age,
            memory=chosen.memory // self.traces.shards,
            slow_quantile=(chosen.slow_percentile or 0) / 100,
            slow_history=chosen.slow_history,
            spans=_of_slot(chosen.spans_per_second, self.rollups.windows[0]),
            bytes=_of_slot(chosen.bytes_per_second, self.rollups.windows[0]),
        )

    @property
    def rollups_of_traces(self) -> Rollups:
        """How what was counted of spans is rolled up: it comes in order, and is revised for longer.

        Its series are few beside its spans, so they have no more shards than those.
        """
        changed = {
            "disorder": 0, "lateness": 2 * self.traces.hold, "shards": self.traces.shards,
        }  # fmt: skip
        return self.rollups.model_copy(update=changed)

    @property
    def fixed_tenants(self) -> tuple[str, ...]:
        """The tenants of inputs of metrics that are of one tenant each."""
        fixed = (
            entry.tenant
            for entry in self.inputs_of("metrics")
            if entry.tenant_header is None and entry.tenant_attribute is None
        )
        return tuple(dict.fromkeys(fixed))

    @property
    def judged(self) -> int:
        """Length in nanoseconds of the windows whose rollups are scored."""
        return self.scoring.window or self.rollups.windows[0]

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """The signals that are judged together."""
        return tuple(vector.vector(self.judged) for vector in self.scoring.vectors)

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


def _of_slot(a_second: int | None, window: int) -> int:
    """Return how much of a rate there is for a window of so many nanoseconds; 0 if there is no rate."""
    return max(a_second * window // 1_000_000_000, 1) if a_second is not None else 0


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
    _let_variables_win(values)
    try:
        return Settings(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise SettingsError(_first_line(error, str(file))) from None
    except NotParsed as error:
        raise SettingsError(_not_json(error)) from None


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


def _let_variables_win(values: dict[str, Any]) -> None:
    """Take a secret's file out of the settings' file where a variable has the secret, or the reverse.

    They are two keys, so a variable with one would not replace the other.
    """
    for variable in os.environ:
        if not variable.startswith(PREFIX):
            continue
        *path, key = variable.removeprefix(PREFIX).lower().split("__")
        section: Any = values
        for name in path:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(key.removesuffix("_file") if key.endswith("_file") else f"{key}_file", None)


def _not_json(error: NotParsed) -> str:
    """Say which variable is no JSON, without its value, which may be a secret."""
    field = (re.findall(r'field "(\w+)"', str(error)) or [""])[0]
    section = f"{PREFIX}{field.upper()}"
    faults = {}
    for variable, value in sorted(os.environ.items()):
        if variable == section or variable.startswith(f"{section}__"):
            try:
                json.loads(value)
            except ValueError as fault:
                faults[variable] = str(fault)
    # Values that are no lists need not be JSON; those that begin as one are the likeliest.
    likely = [name for name in faults if name == section or os.environ[name].lstrip()[:1] in "[{"]
    named = likely[:1] or list(faults) or [section]
    return (
        f"{' or '.join(named)}: not JSON: {faults.get(named[0], 'a list or mapping is wanted')} "
        '(a list or mapping is written as JSON in a variable: ["10s", "1m"], {"topic": "metrics"})'
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
    message = _WORDS.get(fault["type"], message)
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
    elif fault["type"] == "missing":
        message = f"missing (write it there, or set {variables[0]})" if variables else "missing"
    return f"{place}: {key}: {message}" if key else f"{place}: {message}"
