"""A metrics flow of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from flows.settings import Enrichment
from flows.warm_up import compile_kernels
from operators.decoders import DECODERS
from tests.conftest import TopicFactory
from tests.flows.metrics_flow import MetricsFlow


class FlowFactory(Protocol):
    def __call__(
        self, *, partitions: int = 1, on: str | None = None, reads: str | None = None
    ) -> MetricsFlow:
        """Return a flow that reads a new topic, or this one; `on` is another broker's address."""


@pytest.fixture(scope="session")
def compiled() -> None:
    """Loops on the disk as compiled, so that no flow takes a minute of a test's time to start."""
    compile_kernels(DECODERS, Enrichment())


@pytest.fixture
def new_flow(
    tmp_path: Path, topic: TopicFactory, request: pytest.FixtureRequest, compiled: None
) -> Iterator[FlowFactory]:
    """A factory of flows; what still runs after the test is killed."""
    made: list[MetricsFlow] = []

    def make(
        *, partitions: int = 1, on: str | None = None, reads: str | None = None
    ) -> MetricsFlow:
        address = on or request.getfixturevalue("kafka")
        source = reads or topic(partitions, name="metrics", on=on)
        flow = MetricsFlow(tmp_path, address, source)
        made.append(flow)
        return flow

    yield make
    for flow in made:
        flow.kill_all()
