"""``python -m bench.vectors``: what is found where only the combination of signals is unusual.

Made services, seeded: the rate has a day's course and comes and goes by tens of percent within the
hour; saturation, duration and errors follow it. In a fault they come apart: for a while one signal is
as it would be at another rate, which is usual for it at this hour. So each signal alone stays where it
always is. Compared are the vector of the golden signals and the default detector on each of the four
signals alone, both with the flow's own incidents; and what a vector costs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from flows.settings import Scoring
from flows.settings.vectors import SignalVector
from models.named import new_detector
from operators.contracts.items import Events, VectorParts
from operators.scoring.episodes import Episodes
from operators.scoring.vector_parts import UNIT, VECTOR_PARTS
from operators.scoring.vectors import VectorsLogic

__all__ = ["MadeService", "made_service", "parts_of"]

_MINUTE: Final = 60 * 10**9
_DAY: Final = 1440
_BEGIN: Final = 1_704_067_200 * 10**9
_LASTS: Final = 30
_HANGOVER: Final = 10
"""Windows after a fault in which an alert still counts as of it."""
KINDS: Final = ("saturation", "duration", "errors", "rate")

Floats = NDArray[np.float64]


class MadeService(NamedTuple):
    """Signals of a service, a value a minute, and the first windows of its faults with their kinds."""

    rate: Floats
    failed: Floats
    duration: Floats
    saturation: Floats
    faults: tuple[tuple[int, str], ...]


def made_service(seed: int, days: int, *, faults: bool) -> MadeService:
    """Return one service; with two faults in its second half, of kinds in turn."""
    dice = np.random.default_rng(seed)
    size = days * _DAY
    hour = np.arange(size) % _DAY / 60
    course = 1 + dice.uniform(0.2, 0.6) * np.cos((hour - 14) / 24 * 2 * np.pi)
    spread, memory = dice.uniform(0.2, 0.4), 0.97
    wander = np.empty(size)
    last = 0.0
    for at, fresh in enumerate(dice.normal(0, spread * np.sqrt(1 - memory**2), size).tolist()):
        last = memory * last + fresh
        wander[at] = last
    base = 10 ** dice.uniform(0.7, 2.5)
    follows = {name: wander.copy() for name in KINDS}
    found = []
    if faults:
        for number, begin in enumerate((size // 2, size * 3 // 4)):
            at = begin + int(dice.integers(0, size // 4 - 2 * _LASTS))
            kind = KINDS[(seed // 2 + number * 2 + seed // 8) % len(KINDS)]
            rows = slice(at, at + _LASTS)
            # Where the others are low this one is high, and both are where they often are.
            size_of = dice.uniform(0.7, 1.5) * spread
            for name in KINDS:
                side = 1.0 if (name == kind) == (kind != "rate") else -1.0
                follows[name][rows] = side * size_of + dice.normal(0, 0.2 * spread, _LASTS)
            found.append((at, kind))
    load = {name: course * np.exp(wanders) for name, wanders in follows.items()}
    requests = dice.poisson(np.maximum(base * load["rate"], 0.01) * 60)
    busy = np.minimum(0.2 * load["saturation"], 0.97)
    duration = 10 ** dice.uniform(-2, -0.5) * np.sqrt(load["duration"])
    duration *= np.exp(dice.normal(0, 0.05, size))
    failing = np.minimum(0.01 * load["errors"] ** 2, 1.0)
    return MadeService(
        requests.astype(float),
        dice.binomial(requests, failing).astype(float),
        duration,
        busy * np.exp(dice.normal(0, 0.05, size)),
        tuple(found),
    )


def parts_of(services: Sequence[MadeService], windows: slice = slice(None)) -> pl.DataFrame:
    """Return a VECTOR_PARTS frame of the golden signals of these services."""
    frames = []
    for number, one in enumerate(services):
        starts = _BEGIN + np.arange(len(one.rate), dtype=np.int64)[windows] * _MINUTE
        amounts = {
            "rate": (one.rate, np.zeros_like(one.rate)),
            "errors": (one.failed, one.rate),
            "duration": (one.duration * one.rate, one.rate),
            "saturation": (one.saturation, np.ones_like(one.rate)),
        }
        for signal, (amount, weight) in amounts.items():
            frames.append(
                pl.DataFrame({"window_start": starts})
                .with_columns(
                    tenant=pl.lit("default"),
                    vector=pl.lit("golden"),
                    group=pl.lit(f'{{"service.name":"s{number}"}}'),
                    signal=pl.lit(signal),
                    choice=pl.lit(0, pl.UInt8),
                    amount=pl.Series(amount[windows] / UNIT).round().cast(pl.Int128),
                    weight=pl.Series(weight[windows] / UNIT).round().cast(pl.Int128),
                    most=pl.lit(-np.inf),
                    unit=pl.lit("s" if signal == "duration" else ""),
                )
                .select(VECTOR_PARTS.names())
            )
    return pl.concat(frames)


def _alerts_of_vectors(
    services: Sequence[MadeService], detector: str, settings: Scoring, days: int
) -> tuple[list[list[int]], float, int]:
    """Return windows in which alerts of each service fire, microseconds and bytes of a vector."""
    vector = SignalVector.model_validate({"name": "golden", "detector": detector}).vector(_MINUTE)
    logic = VectorsLogic([vector], settings, 1, None)
    alerts: list[list[int]] = [[] for _ in services]
    took = 0.0
    for day in range(days):
        frame = parts_of(services, slice(day * _DAY, (day + 1) * _DAY))
        began = time.process_time()
        out = logic.on_batch([("0", VectorParts(frame, _BEGIN + (day + 1) * _DAY * _MINUTE))])
        took += time.process_time() - began
        for item in out:
            for at, status, content in (
                item.frame.select("at", "status", "event").iter_rows()
                if isinstance(item, Events)
                else ()
            ):
                if status == "firing":
                    labels = orjson.loads(content)["labels"]
                    alerts[int(labels["service.name"][1:])].append((at - _BEGIN) // _MINUTE - 1)
    state = logic.snapshot()["judged"]["golden"]
    size = len(state["watched"]) + sum(len(group[3]) for group in state["groups"])
    return alerts, took / (days * _DAY * len(services)) * 1e6, size // len(services)


def _alerts_of_series(services: Sequence[MadeService], settings: Scoring) -> list[list[int]]:
    """Return the same where each signal is judged alone, all alerts of a service as one list."""
    alerts = []
    for one in services:
        mine: set[int] = set()
        ratio = one.failed / np.maximum(one.rate, 1)
        for values, above in (
            (one.rate / 60, False), (ratio, True), (one.duration, False), (one.saturation, False),
        ):  # fmt: skip
            bank = new_detector("peak_rank", alerts=settings.alerts_per_series_month).bank()
            bank.grow(1)
            rows = np.zeros(len(values), np.int32)
            starts = _BEGIN + np.arange(len(values), dtype=np.int64) * _MINUTE
            judged = bank.judge_then_learn(rows, values, starts)
            if above:
                fine = values <= judged[1]
                judged[0, fine] = np.minimum(judged[0, fine], 0.99)
            incidents = Episodes(
                settings.warm_up, settings.fire_after, settings.resolve_after, _MINUTE,
                settings.accept_after,
            )  # fmt: skip
            incidents.grow(1)
            _, changes = incidents.follow(rows, starts, values, judged)
            mine |= {change.at for change in changes if change.status == "firing"}
        alerts.append(sorted(mine))
    return alerts


def judged(
    services: Sequence[MadeService], alerts: Sequence[Sequence[int]], days: int
) -> dict[str, Any]:
    """Return what alerts come to: recall by kind, and false events of a service in thirty days."""
    caught: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    false = 0
    for one, mine in zip(services, alerts, strict=True):
        left = list(mine)
        for begin, kind in one.faults:
            hits = [at for at in left if begin <= at < begin + _LASTS + _HANGOVER]
            caught[kind].append(bool(hits))
            left = [at for at in left if at not in hits]
        false += len(left)
    every = [hit for hits in caught.values() for hit in hits]
    return {
        "recall": round(float(np.mean(every)), 2) if every else None,
        **{kind: round(float(np.mean(hits)), 2) for kind, hits in caught.items() if hits},
        "faults": len(every),
        "false_events_a_service_month": round(false / (days * len(services)) * 30, 2),
    }


def main() -> None:
    """Print a line for each way of judging."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--services", type=int, default=12, help="half of them have faults")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--alerts", type=float, default=1.0, help="of a series in thirty days")
    parser.add_argument("detectors", nargs="*", default=["joint_distance"])
    given = parser.parse_args()
    services = [
        made_service(given.seed * 1000 + number, given.days, faults=number % 2 == 0)
        for number in range(given.services)
    ]
    settings = Scoring(alerts_per_series_month=given.alerts)
    alone = judged(services, _alerts_of_series(services, settings), given.days)
    print(json.dumps({"detector": "each signal alone", **alone}), flush=True)
    for detector in given.detectors:
        alerts, took, size = _alerts_of_vectors(services, detector, settings, given.days)
        found = judged(services, alerts, given.days)
        cost = {"microseconds": round(took, 1), "bytes": size}
        print(json.dumps({"detector": detector, **found, **cost}), flush=True)


if __name__ == "__main__":
    main()
