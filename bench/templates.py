"""How well lines are grouped into templates, on labelled logs: ``python -m bench.templates --data DIR``.

The folder is laid out as Loghub's is: a folder a system, with ``*_structured.csv`` whose columns
``Content`` and ``EventId`` are a line and its true group, perhaps also with corrected labels in
``*_structured_corrected.csv``. Grouping accuracy is the share of lines whose group holds exactly the
lines of their true group.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from operators.columns.messages import Messages
from operators.logs.templates.masking import masked_texts, shapes
from operators.logs.templates.merging import merge

_LABELS = {
    "original": ("*_structured.csv", "EventId"),
    "corrected": ("*_structured_corrected.csv", "EventTemplate"),
}
"""Files and the column of the group. Correcting changed templates, and not the ids."""


def grouping_accuracy(found: pl.Series, true: pl.Series) -> float:
    """Return the share of rows whose group in ``found`` holds exactly the rows of that in ``true``."""
    rows = pl.DataFrame({"found": found, "true": true})
    right = (
        rows.group_by("found")
        .agg(size=pl.len(), kinds=pl.col("true").n_unique(), true=pl.col("true").first())
        .filter(pl.col("kinds") == 1)
        .join(rows.group_by("true").agg(all=pl.len()), on="true")
        .filter(pl.col("size") == pl.col("all"))
    )
    return float(right["size"].sum() / rows.height) if rows.height else 1.0


def templates(lines: list[str]) -> list[str]:
    """Return the template of each line, as one service's."""
    messages = Messages.of([line.encode() for line in lines])
    starts, ends = messages.bounds[:-1], messages.bounds[1:]
    by_line = pl.Series(shapes(messages.buffer, starts, ends))
    firsts = by_line.arg_unique().sort().to_numpy()
    texts = masked_texts(messages.buffer, starts[firsts], ends[firsts])
    merged = merge(texts)
    of_shape = {
        shape: merged[text] for shape, text in zip(by_line[firsts].to_list(), texts, strict=True)
    }
    return [of_shape[shape] for shape in by_line.to_list()]


def measure(folder: Path) -> dict[str, Any] | None:
    """Return what was found for one system, none if the folder holds no labelled lines."""
    result: dict[str, Any] = {"system": folder.name}
    for name, (pattern, label) in _LABELS.items():
        for path in sorted(folder.glob(pattern)):
            rows = pl.read_csv(path, columns=["Content", label], infer_schema=False)
            lines = rows["Content"].fill_null("").to_list()
            started = perf_counter()
            found = pl.Series(templates(lines))
            result["seconds"] = round(perf_counter() - started, 3)
            result["lines"] = len(lines)
            result[name] = round(grouping_accuracy(found, rows[label]), 4)
            result[f"{name}_groups"] = rows[label].n_unique()
            result["templates"] = found.n_unique()
            result["texts"] = found.value_counts(sort=True, name="lines").rows(named=True)
    return result if "lines" in result else None


def main(arguments: list[str] | None = None) -> int:
    """Run it; 2 if the folder holds no labelled lines."""
    parser = argparse.ArgumentParser(prog="python -m bench.templates", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON, templates included")
    parser.add_argument("--texts", action="store_true", help="print the templates too")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        print(f"--data: {options.data} is no folder", file=sys.stderr)
        return 2
    folders = sorted(path for path in options.data.iterdir() if path.is_dir())
    results = [result for folder in folders if (result := measure(folder))]
    if not results:
        print(f"--data: no *_structured.csv in the folders of {options.data}", file=sys.stderr)
        return 2
    means = {
        name: round(sum(values) / len(values), 4)
        for name in _LABELS
        if (values := [result[name] for result in results if name in result])
    }
    if options.json:
        print(json.dumps({"systems": results, "mean": means}, indent=1))
        return 0
    print(
        f"{'system':<14}{'lines':>7}{'templates':>11}{'true':>6}{'original':>10}{'corrected':>11}"
    )
    for result in results:
        true = result.get("original_groups", result.get("corrected_groups"))
        scores = "".join(
            f"{result[name]:>{width}.3f}" if name in result else " " * width
            for name, width in (("original", 10), ("corrected", 11))
        )
        print(
            f"{result['system']:<14}{result['lines']:>7}{result['templates']:>11}{true:>6}{scores}"
        )
        if options.texts:
            for row in result["texts"]:
                print(f"{row['lines']:>12}  {row['']}")
    print(
        "mean".ljust(38)
        + "".join(f"{means[name]:>{10 + (name == 'corrected')}.3f}" for name in means)
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
