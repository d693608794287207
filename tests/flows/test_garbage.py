"""Garbage is left while a flow starts, and only then: whoever imports ours for something else keeps it."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec

import pytest

from flows.garbage import leave_garbage_at_start, look_for_garbage_again


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    yield
    gc.enable()
    atexit.unregister(gc.freeze)


def run_as(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec(program, None))
    monkeypatch.setattr(sys, "argv", [program, *arguments])


def test_a_flow_leaves_it_until_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    run_as(monkeypatch, "bytewax.run", "-w", "2", "flows.metrics")
    leave_garbage_at_start()
    assert not gc.isenabled()
    before, made = gc.get_freeze_count(), [[] for _ in range(100_000)]
    look_for_garbage_again()
    assert gc.isenabled()
    # Some of what was frozen before may be gone by now.
    assert gc.get_freeze_count() - before > len(made) / 2


@pytest.mark.parametrize(
    ("program", "argument"), [("bytewax.run", "mine.flow"), ("mine", "flows.metrics")]
)
def test_what_is_no_flow_of_ours_never_leaves_it(
    monkeypatch: pytest.MonkeyPatch, program: str, argument: str
) -> None:
    run_as(monkeypatch, program, argument)
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    leave_garbage_at_start()
    assert gc.isenabled()
    look_for_garbage_again()
    assert not frozen
