"""Promotions of models on their topic: saying them, and hearing of them while a flow runs.

The key of a message says what a model is to do: to score, or to do so in the shadow of that one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

import numpy as np
import orjson
import tenacity

from flows.following import Followed
from flows.settings import Settings
from models.artefact import BadArtefact, Trained, read_artefact
from models.registry import OutOfReach, Promotion, Registry
from operators.contracts.monitoring import MODELS_REFUSED, MODELS_TAKEN
from operators.kafka.clients import KafkaSettings
from operators.scoring.promoted import Promoted, Promotions
from sinks.base import Unavailable
from sinks.kafka_delivery import KafkaDelivery, Outgoing, explain

__all__ = ["PromotedModels", "Role", "promotion_message", "publish", "registry_of"]

_log = logging.getLogger(__name__)

SCHEMA: Final = "headrace.model/v1"
Role = Literal["scoring", "shadow"]
"""What a model is promoted to: to be in force, or to judge beside the one that is."""


def registry_of(settings: Settings) -> Registry:
    """Return the registry that the settings name."""
    return Registry(settings.models.shelf(), settings.models.keys)


def promotion_message(promotion: Promotion, role: Role = "scoring") -> bytes:
    """Return the message that says a promotion."""
    said = {"schema": SCHEMA, **asdict(promotion)}
    # A Headrace that knows of no shadows must not take one for a promotion.
    return orjson.dumps(said if role == "scoring" else {**said, "role": role})


def publish(
    settings: KafkaSettings, topic: str, promotion: Promotion, role: Role = "scoring"
) -> None:
    """Say a promotion on its topic, and wait until the brokers have it.

    Raises:
        Unavailable: they do not confirm it.
    """
    delivery = KafkaDelivery(settings)
    try:
        message = Outgoing(topic, role.encode(), promotion_message(promotion, role))
        (error,) = delivery.send([message])
    finally:
        delivery.close()
    if error is not None:
        raise Unavailable(str(explain(settings, topic, error)))


_PATIENCE: Final = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(OutOfReach),
    wait=tenacity.wait_exponential(0.5, max=10),
    stop=tenacity.stop_after_delay(60),
    reraise=True,
)
"""A bucket may be out of reach for a moment, and a promotion is heard of once."""
_ONE_TRY: Final = tenacity.Retrying(stop=tenacity.stop_after_attempt(1), reraise=True)


class PromotedModels(Followed):
    """What is promoted, as the topic says; all shards of a process ask the same one.

    When it is made it has read the topic to its end, so a flow that starts again knows what was in
    force; a thread goes on reading. A model that can't be used leaves the one before in force.

    Args:
        settings: the brokers.
        topic: of the promotions.
        registry: where the models are.
    """

    def __init__(self, settings: KafkaSettings, topic: str, registry: Registry) -> None:
        self._registry = registry
        self.shadows: Promotions = _Shadows(self)
        self._within_reach = True
        self._from_before: dict[str, Trained] = {}
        self._begin()
        super().__init__(settings, topic, "headrace.models", "no model can be promoted")

    def after(self, effective: int, until: int) -> Sequence[Promoted]:
        """Return what comes into force after one event time, and by another."""
        return self.after_of("scoring", effective, until)

    def after_of(self, role: Role, effective: int, until: int) -> Sequence[Promoted]:
        """Return the same of one role."""
        known = self._known[role]
        if not known or known[-1].effective <= effective:
            return ()
        return [one for one in known if effective < one.effective <= until]

    def of(self, version: str) -> Trained | None:
        """Return a model that is or was promoted, or that is in the registry."""
        known = self._known
        for promoted in reversed((*known["scoring"], *known["shadow"])):
            if promoted.version == version:
                return promoted.trained
        # The shards of a flow that starts again ask for the same one, each in its turn.
        if version not in self._from_before:
            if (trained := self._load(version, "")) is None:
                return None
            self._from_before[version] = trained
        return self._from_before[version]

    def _begin(self) -> None:
        self._known: dict[Role, tuple[Promoted, ...]] = {"scoring": (), "shadow": ()}

    def _hear(self, payload: bytes) -> None:
        try:
            document: dict[str, Any] = orjson.loads(payload)
            document.pop("schema")
            role: Role = "shadow" if document.pop("role", "scoring") == "shadow" else "scoring"
            promotion = Promotion(**document)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            MODELS_REFUSED.labels("message").inc()
            _log.warning("%s: a message is no promotion; what is in force stays", self._topic)
            return
        trained = self._load(promotion.version, promotion.checksum) if promotion.version else None
        if promotion.version and trained is None:
            return
        before = self._known[role]
        last = before[-1].effective if before else -1
        # Promotions count in the order in which they were said.
        effective = max(promotion.effective, last + 1)
        self._known = {**self._known, role: (*before, Promoted(effective, trained))}
        MODELS_TAKEN.inc()
        where = "in force" if role == "scoring" else "in shadow"
        _log.info(
            "model %s is %s from event time %d on", promotion.version or "-", where, effective
        )

    def _load(self, version: str, checksum: str) -> Trained | None:
        # What was waited for in vain is not waited for again, until it has answered.
        patience = _PATIENCE if self._within_reach else _ONE_TRY
        try:
            trained = patience(self._read, version, checksum)
        except BadArtefact as error:
            self._within_reach = not isinstance(error, OutOfReach)
            MODELS_REFUSED.labels("artefact").inc()
            _log.warning("%s; the model before stays in force", error)
            return None
        self._within_reach = True
        return trained

    def _read(self, version: str, checksum: str) -> Trained:
        content, path = self._registry.content(version), self._registry.place_of(version)
        if checksum and hashlib.sha256(content).hexdigest() != checksum:
            raise BadArtefact(f"{path}: it is not what was promoted")
        trained = read_artefact(content, path, key=self._registry.key)
        # Its loops are compiled, or loaded, here and not when the first rollup is judged with it.
        bank = trained.new_detector().bank()
        bank.grow(1)
        bank.judge_then_learn(np.zeros(1, np.int32), np.zeros(1), np.zeros(1, np.int64))
        return trained


class _Shadows(Promotions):
    """The models in shadow, as shards ask for them."""

    def __init__(self, models: PromotedModels) -> None:
        self._models = models

    def after(self, effective: int, until: int) -> Sequence[Promoted]:
        return self._models.after_of("shadow", effective, until)

    def of(self, version: str) -> Trained | None:
        return self._models.of(version)
