from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.command_line import CommandLine


@pytest.fixture
def headrace(tmp_path: Path) -> CommandLine:
    """The command line; nothing here needs a server."""
    return CommandLine(tmp_path, "localhost:1")
