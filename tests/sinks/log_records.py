"""Records of logs for tests of where they are stored."""

from __future__ import annotations

from typing import Any

import polars as pl

from operators.contracts.frames import GROUPED_LOGS

NOON = 1_767_268_800_000_000_000  # 2026-01-01T12:00:00Z


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return a GROUPED_LOGS frame; each row says what is not as usual, and has its own offset."""
    plain: dict[str, Any] = {
        "topic": "raw", "partition": 3, "index": 0, "tenant": "default", "ts": NOON,
        "observed": NOON + 1, "severity": 9, "severity_text": "INFO", "service": "shop",
        "body": "Took 5 ms", "attributes": "", "resource": '{"service.name":"shop"}', "scope": "",
        "trace_id": "", "span_id": "", "marks": 0, "shape": 2**64 - 2, "template": -2,
        "exception": "", "weight": None,
    }  # fmt: skip
    full = [plain | {"offset": number} | row for number, row in enumerate(rows)]
    return pl.DataFrame(
        [[row[name] for name in GROUPED_LOGS] for row in full], GROUPED_LOGS, orient="row"
    )
