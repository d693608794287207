"""Rule files of others: Prometheus' engine is asked about each of their expressions.

HEADRACE_RULE_FILES names a folder of rule files, also as custom resources of Kubernetes.
"""

import os
from pathlib import Path
from random import Random

import pytest
import yaml

from operators.rules.errors import EvaluationError
from operators.rules.evaluator import Evaluator
from tests.backends.promql_engine import build
from tests.operators.rules.public_series import series_for
from tests.operators.rules.random_promql import close
from tests.operators.rules.test_oracle import engine, put_in_both, result

FOLDER = os.environ.get("HEADRACE_RULE_FILES", "")
SEED = int(os.environ.get("HEADRACE_PROMQL_SEED", "12"))
__all__ = ["build", "engine"]


def expressions() -> list[str]:
    found: dict[str, None] = {}
    for file in sorted(Path(FOLDER).rglob("*.y*ml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            content = document.get("spec", document) if isinstance(document, dict) else {}
            for group in content.get("groups") or ():
                found.update((str(rule["expr"]), None) for rule in group.get("rules") or ())
    return list(found)


def test_every_expression_gives_what_prometheus_gives(engine):
    if not FOLDER:
        pytest.skip("HEADRACE_RULE_FILES names no folder of rule files")
    texts = expressions()
    assert texts
    different = []
    compared = 0
    for number in range(0, len(texts), 20):
        some = texts[number : number + 20]
        made = series_for(some, Random(SEED * 1000 + number))
        # Each lot has series of its own: metrics are told apart by the lot's number.
        engine.ask({"forget": True})
        plan = Evaluator(put_in_both(engine, made))
        plan.keeps_all = True
        for text in some:
            ours = plan.expression(text)
            for time in (320_000, 890_000):
                plan.begin()
                said = engine.ask({"query": text, "time": time})
                try:
                    got = result(ours, time)
                except EvaluationError as error:
                    if not said["error"]:
                        different.append((text, time, f"ours failed: {error}"))
                    continue
                expected = {
                    tuple(sorted(row["labels"].items())): float(row["value"])
                    for row in said["rows"] or ()
                }
                compared += len(expected)
                if said["error"] or got.keys() != expected.keys():
                    different.append((text, time, said["error"] or f"{sorted(got)} instead of {sorted(expected)}"))  # fmt: skip
                    continue
                different.extend(
                    (text, time, f"{labels}: {got[labels]} instead of {value}")
                    for labels, value in expected.items()
                    if not close(got[labels], value)
                )
    print(f"{len(texts)} expressions, {compared} rows, {len(different)} differences")
    assert compared
    assert not different, "\n".join(str(one) for one in different[:20])
