"""Label sets as columns: the labels of many series, apart from their numbers.

A label set's *signature* is the sum, modulo 2**64, of a hash of each of its labels. So the
signature of some labels, or of all but some, is a sum of columns, and nothing is sorted or joined.
It is made of the texts, so it is the same whatever order they came in: what is sorted by it is
added up in the same order in every run, to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex

__all__ = ["METADATA", "NAME", "Ids", "LabelSets", "Signatures", "Symbols", "groups_of"]

Ids = NDArray[np.int32]
Signatures = NDArray[np.uint64]

NAME: Final = "__name__"
METADATA: Final = (NAME, "__type__", "__unit__")
"""Labels that say what a metric is; a function that makes another one of it drops them."""


class Symbols:
    """Texts by number, from 1 on; 0 is the empty text, which is a label that is not there."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}
        self.texts: list[str] = [""]
        self.hashes = np.zeros(1 << 10, np.uint64)
        """A hash of each text, by its number."""

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, text: str) -> int:
        """Return the number of a text, which gets one if it has none."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
            if number == len(self.hashes):
                self.hashes = np.concatenate([self.hashes, np.zeros(number, np.uint64)])
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            self.hashes[number] = int.from_bytes(digest, "little")
        return number

    def find(self, text: str) -> int:
        """Return the number of a text, -1 if it has none."""
        return self._numbers.get(text, -1)


class LabelSets:
    """The labels of ``size`` series, a column of numbered values for each label's name.

    They never change, so that what was worked out for one object holds as long as it is there.

    Args:
        symbols: the texts.
        size: how many label sets there are.
        columns: by the number of the name: the numbers of the values, 0 where there is none.
        dropped: whose metadata goes away when the result is complete; None is nobody's.
    """

    __slots__ = ("_signatures", "columns", "dropped", "size", "symbols")

    def __init__(
        self,
        symbols: Symbols,
        size: int,
        columns: Mapping[int, Ids],
        dropped: NDArray[np.bool_] | None = None,
    ) -> None:
        self.symbols = symbols
        self.size = size
        self.columns = dict(columns)
        self.dropped = dropped
        self._signatures: Signatures | None = None

    @classmethod
    def of(cls, symbols: Symbols, labels: Sequence[Mapping[str, str]]) -> LabelSets:
        """Return label sets made of mappings."""
        columns: dict[int, Ids] = {}
        for row, one in enumerate(labels):
            for name, value in one.items():
                if value:
                    number = symbols.number(name)
                    if number not in columns:
                        columns[number] = np.zeros(len(labels), np.int32)
                    columns[number][row] = symbols.number(value)
        return cls(symbols, len(labels), columns)

    def __len__(self) -> int:
        return self.size

    def column(self, name: str) -> Ids:
        """Return the values of a label, 0 where there is none."""
        found = self.columns.get(self.symbols.find(name))
        return np.zeros(self.size, np.int32) if found is None else found

    def signatures(self) -> Signatures:
        """Return the signature of all labels of each."""
        if self._signatures is None:
            self._signatures = self._sum(self.columns)
        return self._signatures

    def signatures_of(self, names: Iterable[str], others: bool = False) -> Signatures:
        """Return the signatures of the labels with these names, or of all others."""
        numbers = {self.symbols.find(name) for name in names}
        return self._sum([number for number in self.columns if (number in numbers) != others])

    def _sum(self, numbers: Iterable[int]) -> Signatures:
        made = np.zeros(self.size, np.uint64)
        for number in numbers:
            _add(made, self.symbols.hashes[number], self.columns[number], self.symbols.hashes)
        return made

    def take(self, rows: NDArray[np.int64] | NDArray[np.int32]) -> LabelSets:
        """Return some of them, in the order of ``rows``."""
        columns = {number: column[rows] for number, column in self.columns.items()}
        dropped = None if self.dropped is None else self.dropped[rows]
        return LabelSets(self.symbols, len(rows), columns, dropped)

    def keep(self, names: Iterable[str]) -> LabelSets:
        """Return them with the labels of these names only."""
        numbers = {self.symbols.find(name) for name in names}
        columns = {number: ids for number, ids in self.columns.items() if number in numbers}
        return LabelSets(self.symbols, self.size, columns, self.dropped)

    def without(self, names: Iterable[str]) -> LabelSets:
        """Return them without the labels of these names."""
        numbers = {self.symbols.find(name) for name in names}
        columns = {number: ids for number, ids in self.columns.items() if number not in numbers}
        return LabelSets(self.symbols, self.size, columns, self.dropped)

    def replace(self, name: str, values: Ids) -> LabelSets:
        """Return them with other values of a label."""
        columns = {**self.columns, self.symbols.number(name): values}
        return LabelSets(self.symbols, self.size, columns, self.dropped)

    def dropping(self, dropped: NDArray[np.bool_] | bool | None) -> LabelSets:
        """Return them with other marks of what goes away at the end."""
        if isinstance(dropped, bool):
            dropped = np.full(self.size, dropped)
        return LabelSets(self.symbols, self.size, self.columns, dropped)

    def finished(self) -> LabelSets:
        """Return them without the metadata that is marked as dropped."""
        if self.dropped is None or not self.dropped.any():
            return self
        columns = dict(self.columns)
        for name in METADATA:
            number = self.symbols.find(name)
            if number in columns:
                columns[number] = np.where(self.dropped, np.int32(0), columns[number])
        return LabelSets(self.symbols, self.size, columns)

    def plus(self, other: LabelSets) -> LabelSets:
        """Return these and then the others."""
        size = self.size + other.size
        columns: dict[int, Ids] = {}
        for sets, at in ((self, 0), (other, self.size)):
            for number, ids in sets.columns.items():
                if number not in columns:
                    columns[number] = np.zeros(size, np.int32)
                columns[number][at : at + sets.size] = ids
        dropped = None
        if self.dropped is not None or other.dropped is not None:
            dropped = np.zeros(size, np.bool_)
            for sets, at in ((self, 0), (other, self.size)):
                if sets.dropped is not None:
                    dropped[at : at + sets.size] = sets.dropped
        return LabelSets(self.symbols, size, columns, dropped)

    def labels(self, row: int) -> dict[str, str]:
        """Return the labels of one, by name, in the order of the names."""
        texts = self.symbols.texts
        found = {texts[number]: texts[ids[row]] for number, ids in self.columns.items() if ids[row]}
        return dict(sorted(found.items()))


def groups_of(signatures: Signatures) -> tuple[Ids, NDArray[np.int64]]:
    """Return the group of each signature, and the first row of each group.

    Groups are in the order of their signatures.
    """
    groups, first = HashIndex().meet(signatures)
    order = np.argsort(signatures[first])
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[groups], first[order]


@njit(cache=True, nogil=True, error_model="numpy")
def _add(made: Signatures, name: np.uint64, values: Ids, hashes: Signatures) -> None:
    """Add the hash of each label that is there: splitmix64 of the hashes of its two texts."""
    for i in range(len(values)):
        if values[i]:
            x = name * np.uint64(0x9E3779B97F4A7C15) + hashes[values[i]]
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            made[i] += x ^ (x >> np.uint64(31))
