"""The process that decodes damaged messages, and that may die of it: ``python -m tests.fuzz.worker``.

It prints a line of JSON now and then, and one at its end. Each poll is a function of the seed and of
what was kept of the polls before.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from operators.contracts.decoder import Decoded
from operators.decoders import DECODERS
from tests.fuzz import checks
from tests.fuzz.corpus import Corpus
from tests.fuzz.findings import LastPoll, describe_error, make_finding, smallest
from tests.fuzz.guarded import guard_decoders
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS
from tests.operators.decoders.test_remote_write import compress

__all__ = ["Fuzzing", "main"]

_MOST: Final = 4000
"""Messages of a poll."""
_LIMIT: Final = 2048
_LARGE: Final = 256 << 10
_LARGE_EVERY: Final = 97
_HANGS_AFTER: Final = 300
"""Seconds, on a machine that does other things too."""
_SLOW: Final = 10.0
"""Seconds of CPU time that no poll may take."""
_MOST_FINDINGS: Final = 20


class Fuzzing:
    """Polls of one encoding, made, decoded and checked one after the other."""

    def __init__(self, encoding: str, seed: int, directory: Path) -> None:
        self.encoding = encoding
        self.seed = seed
        self.inputs = self.rejected = self.points = self.polls = self.compared = 0
        self.slowest = 0.0
        self.findings: dict[str, str] = {}
        self._directory = directory
        self._target = TARGETS[encoding]
        self._decoder = DECODERS[encoding]
        self._corpus = Corpus(self._target, seed)
        self._generator = np.random.default_rng([seed, 1])
        self._last = LastPoll(directory / "last-poll", create=True)
        self._letters = checks.DeadLetters(encoding)
        self._out = np.empty(8 << 20, np.uint8)

    def poll(self) -> None:
        """Make, decode and check one poll; note what is wrong."""
        values, positions = self._made()
        self._last.keep(self.polls, values)
        faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
        try:
            self._check(values, positions)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._note(describe_error(error), values)
        faulthandler.cancel_dump_traceback_later()
        self.polls += 1
        self.inputs += len(values)

    def _made(self) -> tuple[list[bytes], np.ndarray]:
        generator, sentinels = self._generator, self._target.sentinels
        large = self.polls % _LARGE_EVERY == _LARGE_EVERY - 1
        count = 6 if large else int(generator.integers(1, _MOST))
        limit = _LARGE if large else _LIMIT
        seed = int(generator.integers(0, 2**62))
        bounds = mutate(self._corpus.material(), seed, count, limit, self._out).tolist()
        content = self._out[: bounds[-1]].tobytes()
        values = [content[a:b] for a, b in itertools.pairwise(bounds)]
        if self._target.compressed:
            for index in range(int(generator.integers(0, 8)), len(values), 8):
                values[index] = compress(values[index])
        among = len(values) + max(1, len(values) // 40)
        positions = np.sort(generator.choice(among, among - len(values), replace=False))
        for number, position in enumerate(positions.tolist()):
            values.insert(position, sentinels[number % len(sentinels)].message)
        return values, positions

    def _check(self, values: list[bytes], positions: np.ndarray) -> None:
        began = time.process_time()
        decoded = self._decoder.decode(values)
        taken = time.process_time() - began
        self.slowest = max(self.slowest, taken)
        assert taken < _SLOW, f"{taken:.1f} s of CPU time for one poll"
        self.rejected += len(decoded.rejected)
        self.points += decoded.points.height + len(decoded.distributions)
        self._corpus.learn(values, decoded)
        checks.check_decoded(decoded, len(values), exact=self._target.exact)
        resolved = checks.resolve(decoded)
        checks.check_resolved(resolved, decoded, len(values))
        checks.check_sentinels(resolved, positions, self._target.sentinels)
        rejected = {**decoded.rejected, **resolved.rejected}
        if self.polls % 16 == 0:
            self._letters.check(values, set(rejected))
        # Only now, since what follows decodes anew, into the same guarded memory.
        for index in self._generator.integers(0, len(values), 2).tolist():
            checks.check_alone(self._decoder, values, decoded, index)
        for index in self._generator.integers(0, len(values), 4).tolist():
            self._compare(index, values[index], decoded, rejected)

    def _compare(
        self, index: int, message: bytes, decoded: Decoded, rejected: dict[int, str]
    ) -> None:
        points = None
        if index not in rejected:
            mine = decoded.points.filter(decoded.points["message"] == index)
            points = list(zip(mine["ts"].to_list(), mine["value"].to_list(), strict=True))
        wrong = self._target.oracle(message, points, rejected.get(index, ""))
        self.compared += 1
        if wrong is not None:
            self._note(f"oracle: {wrong}", [message], shrink=False)

    def _note(self, what: str, values: Sequence[bytes], *, shrink: bool = True) -> None:
        cause = what.partition(":")[0] + what.partition(":")[2][:40]
        if cause in self.findings or len(self.findings) >= _MOST_FINDINGS:
            return
        self.findings[cause] = what
        if shrink:
            values = smallest(values, lambda some: self._fails_alike(some, what))
        path = make_finding(self.encoding, self.seed, self.polls, what, values).write(
            self._directory / "findings"
        )
        print(json.dumps({"finding": what, "file": str(path)}), flush=True)

    def _fails_alike(self, values: Sequence[bytes], what: str) -> bool:
        try:
            decoded = self._decoder.decode(values)
            checks.check_decoded(decoded, len(values), exact=self._target.exact)
            checks.check_resolved(checks.resolve(decoded), decoded, len(values))
            for index in range(len(values)) if len(values) < 4 else ():
                checks.check_alone(self._decoder, values, decoded, index)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return describe_error(error)[:40] == what[:40]
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until the number of inputs is reached."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoding", required=True)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    told = parser.parse_args(arguments)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    guard_decoders()
    DECODERS[told.encoding].compile_kernels()
    fuzzing = Fuzzing(told.encoding, told.seed, told.directory)
    process = psutil.Process()
    fuzzing.poll()  # what is compiled is compiled
    fuzzing.slowest = 0.0
    began, cpu, shown = time.monotonic(), time.process_time(), 0.0
    done = fuzzing.inputs
    warm = 0
    while True:
        fuzzing.poll()
        ended = fuzzing.inputs >= told.inputs
        if not warm and (fuzzing.inputs >= told.inputs // 5):
            warm = process.memory_info().rss
        if ended or time.monotonic() - shown > 10:
            shown = time.monotonic()
            taken, used = shown - began, time.process_time() - cpu
            made = fuzzing.inputs - done
            state = {
                "inputs": fuzzing.inputs, "polls": fuzzing.polls, "rejected": fuzzing.rejected,
                "points": fuzzing.points, "compared": fuzzing.compared,
                "findings": len(fuzzing.findings), "inputs_per_second": round(made / taken),
                "inputs_per_cpu_second": round(made / max(used, 1e-3)),
                "slowest_poll": round(fuzzing.slowest, 2), "rss": process.memory_info().rss,
                "grown": process.memory_info().rss - warm if warm else 0, "ended": ended,
            }  # fmt: skip
            print(json.dumps(state), flush=True)
        if ended:
            return


if __name__ == "__main__":
    main()
    sys.stdout.flush()
