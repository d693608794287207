"""Running workers: one after the other, should one die, until all inputs were decoded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fuzz.findings import LastPoll, make_finding

__all__ = ["Report", "run"]

_MOST_DEATHS: Final = 5


@dataclass
class Report:
    """How far a run has come, and what it found."""

    encoding: str
    seed: int
    state: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    _seen: int = 0

    def unseen(self) -> list[str]:
        """Return the findings since the last call."""
        new, self._seen = self.findings[self._seen :], len(self.findings)
        return new


def run(
    encoding: str,
    inputs: int,
    seed: int,
    directory: Path,
    *,
    checked: bool = False,
    show: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Decode ``inputs`` damaged messages; findings go to ``directory``.

    A worker that dies is one, with the poll that it died of; another one goes on with the next seed.
    """
    own = directory / f"{encoding}-{seed}{'-checked' if checked else ''}"
    own.mkdir(parents=True, exist_ok=True)
    report = Report(encoding, seed)
    for death in range(_MOST_DEATHS):
        done = report.state.get("inputs", 0)
        if done >= inputs:
            break
        code, errors = _work(report, inputs - done, done, seed + 1000 * death, own, checked, show)
        if code and not (own / "last-poll").exists():
            raise RuntimeError(f"the worker did not begin: {errors}")
        if code:
            poll, values = LastPoll(own / "last-poll", create=False).read()
            cause = errors.strip().splitlines()
            what = f"the process died ({code}): {' '.join(cause[:1] + cause[-1:])[:300]}"
            path = make_finding(encoding, seed, poll, what, values).write(own / "findings")
            (path.with_suffix(".txt")).write_text(errors)
            report.findings.append(f"{what} ({path})")
            show(report)
    (own / "last-poll").unlink(missing_ok=True)
    return report


def _work(
    report: Report,
    inputs: int,
    done: int,
    seed: int,
    directory: Path,
    checked: bool,
    show: Callable[[Report], None],
) -> tuple[int, str]:
    """Run one worker; return its exit status and what it wrote to standard error."""
    command = [
        sys.executable, "-m", "tests.fuzz.worker", "--encoding", report.encoding,
        "--inputs", str(inputs), "--seed", str(seed), "--directory", str(directory),
    ]  # fmt: skip
    environment = dict(os.environ)
    if checked:
        # What is compiled with checks must not be taken for what is compiled without.
        cache = Path(tempfile.gettempdir()) / "headrace-fuzz-checked"
        environment |= {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as worker,
    ):
        assert worker.stdout is not None
        for line in worker.stdout:
            told = json.loads(line)
            if "finding" in told:
                report.findings.append(f"{told['finding']} ({told['file']})")
            else:
                report.state = {**told, "inputs": done + told["inputs"]}
            show(report)
        worker.wait()
        errors.seek(0)
        return worker.returncode, errors.read()
