"""From the commands topic: what people ask of exceptions, for the shards of the flow ``logs``."""

from __future__ import annotations

from operators.contracts.items import ExceptionCommand, Polled
from operators.logs.decoding import shard_of
from operators.notifying.command import InvalidCommand, command_of

__all__ = ["ExceptionCommands"]


class ExceptionCommands:
    """Callable for ``flat_map``: a poll becomes an ``ExceptionCommand`` for each exception that is meant.

    What is no command is refused by the notifier, which reads the topic, too.

    Args:
        topic: of commands; polls of others hold none.
        shards: number of shards.
    """

    def __init__(self, topic: str, shards: int) -> None:
        self._topic = topic
        self._shards = shards

    def __call__(self, polled: Polled) -> list[ExceptionCommand]:
        """Return the commands in a poll."""
        if polled.topic != self._topic:
            return []
        return [command for payload in polled.values for command in self._commands(bytes(payload))]

    def _commands(self, payload: bytes) -> list[ExceptionCommand]:
        try:
            command = command_of(payload)
        except InvalidCommand:
            return []
        if command.do not in ("resolve", "ignore", "reopen"):
            return []
        return [
            ExceptionCommand(
                shard_of(tenant, service, self._shards),
                tenant, service, fingerprint, command.do, command.at, command.by,
                command.release, command.times, command.lasts or 0,
            )
            for tenant, service, fingerprint in command.exceptions
        ]  # fmt: skip
