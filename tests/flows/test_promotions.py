"""What flows know of promoted models when these are out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import tenacity

from flows import promotions
from flows.promotions import PromotedModels
from flows.settings import Kafka
from models.registry import Registry
from models.shelf import Directory
from tests.conftest import TopicFactory


class Vault(Directory):
    """A directory that may be locked; it counts who asks."""

    locked = True
    asked = 0

    def read(self, name: str) -> bytes:
        self.asked += 1
        if self.locked:
            raise PermissionError(f"{name} is locked")
        return super().read(name)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    waits = tenacity.stop_after_attempt(3)
    monkeypatch.setattr(promotions, "_PATIENCE", promotions._PATIENCE.copy(stop=waits))
    return Vault(tmp_path)


def test_models_out_of_reach_are_waited_for_once_and_not_for_each_shard(
    kafka: str, topic: TopicFactory, vault: Vault
) -> None:
    models = PromotedModels(Kafka(bootstrap_servers=kafka), topic(), Registry(vault))
    assert [models.of("one") for _ in range(4)] == [None] * 4
    assert vault.asked == 3 + 3
    vault.locked = False
    assert models.of("one") is None  # it is not there, which is an answer
    assert vault.asked == 7
    vault.locked = True
    assert models.of("one") is None
    assert vault.asked == 7 + 3
