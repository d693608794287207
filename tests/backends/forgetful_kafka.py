"""A way to a Kafka broker that can say that its cluster has no brokers, as one does that shuts down."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Final, Self

from tests.backends.process import LOCALHOST, free_port
from tests.varint import varint

_METADATA: Final = 3
_FIRST_FLEXIBLE: Final = 9  # version of the metadata request
_HEADER: Final = 5  # bytes of a flexible answer: its number, and no tags


class ForgetfulKafka:
    """Passes on what clients and a broker of this machine say to each other.

    Clients are told to find the broker here. While ``forgets`` is set, they are told that there is
    no broker, and then the connection breaks.

    Args:
        bootstrap_servers: the broker's address.

    Attributes:
        answers: how often a client was told that there is no broker.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._broker = int(bootstrap_servers.rpartition(":")[2])
        self._port = free_port()
        self.bootstrap_servers = f"{LOCALHOST}:{self._port}"
        self.forgets = False
        self.answers = 0
        self._open: list[socket.socket] = []
        self._server: socket.socket | None = None

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def accept(self) -> None:
        """Take connections."""
        self._server = socket.create_server((LOCALHOST, self._port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def refuse(self) -> None:
        """Take none, and break those that there are."""
        for each in [self._server, *self._open]:
            assert each is not None
            _end(each)
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return  # closed
            broker = socket.create_connection((LOCALHOST, self._broker))
            self._open += [client, broker]
            versions: dict[int, int] = {}  # of metadata requests, by their numbers
            for carry, *ends in ((self._ask, client, broker), (self._answer, broker, client)):
                threading.Thread(target=carry, args=(*ends, versions), daemon=True).start()

    def _ask(self, client: socket.socket, broker: socket.socket, versions: dict[int, int]) -> None:
        for frame in _frames(client):
            key, version, number = struct.unpack_from(">hhi", frame)
            if key == _METADATA:
                versions[number] = version
            _send(broker, frame)
        _end(broker)

    def _answer(
        self, broker: socket.socket, client: socket.socket, versions: dict[int, int]
    ) -> None:
        for frame in _frames(broker):
            version = versions.pop(int.from_bytes(frame[:4]), 0)
            if version < _FIRST_FLEXIBLE:
                _send(client, frame)
            elif not self.forgets:
                _send(client, _with_brokers(frame, self._port))
            else:
                self.answers += 1
                _send(client, _with_brokers(frame, None))
                break
        _end(client)


def _frames(connection: socket.socket) -> Iterator[bytes]:
    """Yield what comes, each behind its length."""
    try:
        with connection.makefile("rb") as stream:
            while len(size := stream.read(4)) == 4:
                yield stream.read(int.from_bytes(size))
    except OSError:
        return  # it has gone


def _send(connection: socket.socket, frame: bytes) -> None:
    try:
        connection.sendall(len(frame).to_bytes(4) + frame)
    except OSError:
        return  # it has gone


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has gone
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _with_brokers(answer: bytes, port: int | None) -> bytes:
    """Return an answer to a metadata request, version 9 to 13, with its broker at a port, or none."""
    start = _HEADER + 4  # after the time to wait
    count, at = varint(answer, start)
    assert count == 1 + 1
    length, at = varint(answer, at + 4)  # after the broker's id
    at += length - 1  # its host
    host_ends = at
    length, at = varint(answer, at + 4)
    at += max(0, length - 1)  # its rack
    tags, at = varint(answer, at)
    assert tags == 0
    if port is None:
        return answer[:start] + b"\x01" + answer[at:]
    return answer[:host_ends] + port.to_bytes(4) + answer[host_ends + 4 :]
