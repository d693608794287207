"""The small disks: full when they are filled, there for whom they are meant, gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import in_ci
from tests.chaos.small_disk import SmallDisks


def write(disks: SmallDisks, file: Path) -> str:
    """Have a program on the inside write a page, and return what went wrong."""
    code = "import sys; open(sys.argv[1], 'wb', buffering=0).write(bytes(4096))"
    command = [*disks.inside(file.parent), sys.executable, "-c", code, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_a_full_disk_is_full_for_the_program_and_the_other_is_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with SmallDisks(one, other, size="2m") as disks:
        if disks.missing is not None and not in_ci():
            pytest.skip(disks.missing)
        assert disks.missing is None
        assert write(disks, one / "before") == ""
        disks.fill(one)
        assert "No space left on device" in write(disks, one / "full")
        assert write(disks, other / "file") == ""
        disks.free(one)
        assert write(disks, one / "after") == ""
        copy = disks.copy(one, tmp_path / "copy")
        assert sorted(path.name for path in copy.iterdir()) == ["after", "before", "full"]
        assert not list(one.iterdir()), "it is for those inside"


def test_without_them_the_places_are_directories_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with SmallDisks(tmp_path / "place") as disks:
        assert "unshare" in (disks.missing or "")
        assert disks.inside(tmp_path) == ()
        assert disks.outside(tmp_path / "place").is_dir()
