"""Documents that Elasticsearch holds already: found by their ids in all of a data stream."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson
import polars as pl
from elastic_transport import ApiResponse
from elasticsearch import ApiError, ConflictError, NotFoundError
from elasticsearch import Elasticsearch as Client

from sinks.log_documents import is_final

__all__ = ["KnownDocuments"]

_IDS: Final = 1_000
"""Looked up in one request."""


class _Found:
    """A document as it is there: where, and in which version."""

    __slots__ = ("id", "index", "primary_term", "seq_no", "source")

    def __init__(self, hit: dict[str, Any]) -> None:
        self.id: str = hit["_id"]
        self.index: str = hit["_index"]
        self.seq_no: int = hit["_seq_no"]
        self.primary_term: int = hit["_primary_term"]
        self.source: Any = hit.get("_source")


class KnownDocuments:
    """Looks documents up and replaces them where they are, whatever backing index that is.

    Args:
        client: of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[tuple[str, str], _Found] = {}

    def look_up(self, batch: pl.DataFrame) -> list[bool]:
        """Say of each row of a DOCUMENTS frame whether its stream has a document of that id.

        Where a rollover let one in twice, the one that is older stays.

        Raises:
            ApiError, TransportError: the cluster can't tell.
        """
        self._found = {}
        doubles: list[_Found] = []
        for (stream,), rows in batch.partition_by("stream", as_dict=True).items():
            ids = rows["id"].to_list()
            try:
                # What was written a moment ago is found only after this.
                self._client.indices.refresh(index=str(stream))
            except NotFoundError:
                continue  # nothing was ever written there
            for begin in range(0, len(ids), _IDS):
                some = ids[begin : begin + _IDS]
                answer = self._client.search(
                    index=str(stream),
                    query={"ids": {"values": some}},
                    size=2 * len(some),
                    seq_no_primary_term=True,
                    source=not is_final(str(stream)),
                )
                for hit in _hits(answer):
                    doubles += self._note(str(stream), _Found(hit))
        self._remove(doubles)
        return [key in self._found for key in batch.select("stream", "id").iter_rows()]

    def _note(self, stream: str, found: _Found) -> list[_Found]:
        """Note a document; return the one that is there besides it, and is to go."""
        other = self._found.get((stream, found.id))
        older, newer = (found, other) if other is None else sorted((found, other), key=_generation)
        self._found[stream, found.id] = older
        return [newer] if newer is not None else []

    def _remove(self, doubles: list[_Found]) -> None:
        if doubles:
            place = [
                {"delete": {"_index": each.index, "_id": each.id, "if_seq_no": each.seq_no,
                            "if_primary_term": each.primary_term}}
                for each in doubles
            ]  # fmt: skip
            self._client.bulk(operations=place)

    def replace(self, batch: pl.DataFrame, there: list[bool]) -> dict[int, str]:
        """Replace those that say something else than the rows that were looked up.

        One that another writer has changed since then stays as that left it. Records of logs never
        change.

        Returns:
            The reason for each row, by its number, that the mapping refuses.

        Raises:
            ApiError, TransportError: the cluster does not take one.
        """
        refused: dict[int, str] = {}
        for row in (number for number, known in enumerate(there) if known):
            stream, name, document = batch.row(row)
            if is_final(stream):
                continue
            found = self._found[stream, name]
            wanted = orjson.loads(document)
            if found.source == wanted:
                continue
            try:
                self._client.index(
                    index=found.index,
                    id=name,
                    document=wanted,
                    if_seq_no=found.seq_no,
                    if_primary_term=found.primary_term,
                )
            except ConflictError:
                continue
            except ApiError as error:
                if error.meta.status != 400:
                    raise
                refused[row] = f"400 {error.message}"
        return refused


def _generation(found: _Found) -> tuple[int, str]:
    """Return what orders the backing indices of a stream: the number at the end of the name."""
    number = found.index.rpartition("-")[2]
    return (int(number) if number.isdecimal() else 0), found.index


def _hits(answer: ApiResponse[Any]) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], answer["hits"]["hits"])
