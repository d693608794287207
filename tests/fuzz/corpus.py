"""The messages that are damaged: valid samples, and damaged ones that led somewhere new."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from operators.contracts.decoder import Decoded
from tests.fuzz.mutation import Material, make_material
from tests.fuzz.targets import Target

__all__ = ["Corpus"]

_MOST = 4000
_LONGEST = 2048
_NUMBER = re.compile(r"\d+|'.*'|\".*\"|`.*`")


class Corpus:
    """Samples of a target, and what was kept since.

    A message is kept if the reason of its rejection, numbers aside, or the number of its points is
    one that no message had before.
    """

    def __init__(self, target: Target, number: int) -> None:
        self._target = target
        samples = [sample for sample in target.samples(number) if len(sample) <= _LONGEST]
        sentinels = [sentinel.message for sentinel in target.sentinels]
        self._messages = [*sentinels, *samples, b""]
        self._fixed = len(self._messages)
        self._known: set[object] = set()
        self._reasons: set[str] = set()
        self._material: Material | None = None
        self._generator = np.random.default_rng(number)

    def __len__(self) -> int:
        return len(self._messages)

    def material(self) -> Material:
        """Return the corpus as the compiled loops take it."""
        if self._material is None:
            target = self._target
            self._material = make_material(
                self._messages, list(target.tokens), target.delimiters, target.nested
            )
        return self._material

    def learn(self, values: Sequence[bytes], decoded: Decoded) -> None:
        """Keep the messages of a poll that led somewhere new."""
        for index, reason in decoded.rejected.items():
            if reason not in self._reasons and len(self._reasons) < 100_000:
                self._reasons.add(reason)
                self._note(_NUMBER.sub("#", reason), values[index])
        size = len(values)
        points = np.bincount(decoded.points["message"].to_numpy(), minlength=size)
        spread = np.bincount(decoded.distributions.message, minlength=size)
        shape = np.minimum(points, 40) * 64 + np.minimum(spread, 40)
        shapes, first = np.unique(shape, return_index=True)
        for number, index in zip(shapes.tolist(), first.tolist(), strict=True):
            if index not in decoded.rejected:
                self._note(number, values[index])

    def _note(self, feature: object, message: bytes) -> None:
        if feature in self._known or len(message) > _LONGEST:
            return
        self._known.add(feature)
        if len(self._messages) < _MOST:
            self._messages.append(message)
        else:
            place = int(self._generator.integers(self._fixed, _MOST))
            self._messages[place] = message
        self._material = None
