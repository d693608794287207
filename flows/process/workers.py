"""How many workers Bytewax's runner was asked for, as its command line and environment say."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TypedDict

__all__ = [
    "Workers",
    "has_recovery",
    "is_run_by_bytewax",
    "recovery_directory",
    "requested_workers",
]


class Workers(TypedDict):
    """The place of this process in its cluster."""

    here: int
    processes: int
    process: int  # from 0


def is_run_by_bytewax() -> bool:
    """Say whether this process is ``python -m bytewax.run`` (or ``bytewax.testing``)."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name in {"bytewax.run", "bytewax.testing"}


def has_recovery(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> bool:
    """Say whether the runner was given a recovery store.

    >>> has_recovery(["flows.metrics", "-w2", "-r", "recovery"], {})
    True
    """
    return recovery_directory(arguments, environment) is not None


def recovery_directory(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return where the recovery store is that the runner was given; None without one.

    >>> recovery_directory(["flows.metrics", "-w2", "-r", "recovery"], {})
    'recovery'
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    default = environment.get("BYTEWAX_RECOVERY_DIRECTORY")
    parser.add_argument("-r", "--recovery-directory", default=default)
    try:
        found, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    except argparse.ArgumentError:
        return None
    directory: str | None = found.recovery_directory
    return directory


def requested_workers(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> Workers | None:
    """Return what the runner was asked for; None if that can't be told.

    >>> requested_workers(["flows.metrics", "-i", "1", "-a", "a:2101;b:2101", "-w2"], {})
    {'here': 2, 'processes': 2, 'process': 1}
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for short, long, variable in (
        ("-w", "--workers-per-process", "BYTEWAX_WORKERS_PER_PROCESS"),
        ("-i", "--process-id", "BYTEWAX_PROCESS_ID"),
    ):
        parser.add_argument(short, long, type=int, default=environment.get(variable))
    parser.add_argument("-a", "--addresses", default=environment.get("BYTEWAX_ADDRESSES"))
    try:
        found, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    except (argparse.ArgumentError, ValueError):
        return None
    return Workers(
        here=found.workers_per_process or 1,
        processes=len(found.addresses.split(";")) if found.addresses else 1,
        process=found.process_id or 0,
    )
