"""rclone serving a directory as S3: it checks signatures as S3 does."""

import os
import shutil
import sys
from pathlib import Path

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port, listens

__all__ = ["RcloneServer"]


class RcloneServer(Server):
    """S3 over a directory, each of whose directories is a bucket, with one pair of keys."""

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

    def bucket(self, name: str) -> Path:
        """Make a bucket, and return the directory that it is."""
        path = self.directory / "buckets" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def command(self) -> list[str]:
        beside = str(Path(sys.executable).parent)
        program = shutil.which("rclone", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            raise UnavailableError("rclone is not installed (pip install --group dev)")
        buckets = self.bucket("").absolute()
        configuration = self.directory / "rclone.conf"
        configuration.touch()
        return [
            program, "serve", "s3", str(buckets),
            "--addr", f"{LOCALHOST}:{self.port}",
            "--auth-key", f"{self.access_key_id},{self.secret_access_key}",
            "--config", str(configuration),
            "--vfs-cache-mode", "off", "--dir-cache-time", "0s", "--poll-interval", "0",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return listens(self.port)
