"""Fuzzing of the decoders: ``python -m tests.fuzz --inputs 10000000 --encoding influx --seed 7``.

Damaged messages are decoded in a process of their own, which may die of them. What is found is
written to ``--directory``, as small as it goes; ``--replay FILE`` does it again. ``--checked`` has
numba check the bounds of all arrays, which is slower.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from operators.decoders import DECODERS
from tests.fuzz import checks
from tests.fuzz.running import Report, run
from tests.fuzz.targets import TARGETS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what is asked for, and return 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="messages an encoding")
    parser.add_argument("--encoding", choices=list(TARGETS), action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()) / "headrace-fuzz"
    )
    parser.add_argument("--checked", action="store_true", help="have numba check all bounds")
    parser.add_argument("--replay", type=Path, help="a file of a finding")
    told = parser.parse_args(arguments)
    if told.replay:
        return _replay(told.replay)
    found = 0
    for encoding in told.encoding or TARGETS:
        report = run(
            encoding, told.inputs, told.seed, told.directory, checked=told.checked, show=_show
        )
        found += len(report.findings)
    return 1 if found else 0


def _show(report: Report) -> None:
    state = report.state
    print(
        f"{report.encoding} (seed {report.seed}): {state.get('inputs', 0):,} inputs, "
        f"{state.get('rejected', 0):,} rejected, {state.get('points', 0):,} points, "
        f"{state.get('compared', 0):,} compared with an oracle; "
        f"{state.get('inputs_per_second', 0):,} inputs/s "
        f"({state.get('inputs_per_cpu_second', 0):,} a CPU second), slowest poll "
        f"{state.get('slowest_poll', 0)} s, memory {state.get('rss', 0) >> 20} MiB, "
        f"grown by {state.get('grown', 0) / 2**20:.1f} MiB; {len(report.findings)} findings",
        flush=True,
    )
    for finding in report.unseen():
        print(f"  FOUND {finding}", flush=True)


def _replay(path: Path) -> int:
    """Decode and check the messages of a finding in this process."""
    finding = json.loads(path.read_text())
    values = [b64decode(message) for message in finding["messages"]]
    encoding = finding["encoding"]
    print(f"{encoding}: {finding['what']}\n{values!r}")
    decoded = DECODERS[encoding].decode(values)
    print(decoded.points, decoded.distributions, decoded.rejected, decoded.skipped, sep="\n")
    checks.check_decoded(decoded, len(values), exact=TARGETS[encoding].exact)
    resolved = checks.resolve(decoded)
    print(resolved.new, resolved.rejected, sep="\n")
    checks.check_resolved(resolved, decoded, len(values))
    for index in range(len(values)):
        checks.check_alone(DECODERS[encoding], values, decoded, index)
    return 0


if __name__ == "__main__":
    sys.exit(main())
