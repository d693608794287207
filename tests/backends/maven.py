"""Java libraries and programs from Maven Central, without Maven and without a JDK."""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from tests.backends.cache import Progress, cached, silent

DOWNLOADS_AT_ONCE = 6
READ_TIMEOUT_SECONDS = 60

T = TypeVar("T")


class MavenError(RuntimeError):
    """Something could not be had from Maven Central: says what and why."""


def jars(name: str, coordinates: Sequence[str], progress: Progress = silent) -> Path:
    """Return a cached directory with the jars of `coordinates` and of all they need to run.

    A coordinate is `group:artifact:version`. The first is the program. Each further one ends
    in `!`, or the versions that its parent prefers would replace the program's own.

    Raises: `MavenError`.
    """

    def download(directory: Path) -> None:
        progress(f"downloading {name} from Maven Central, once: 10 to 40 s")
        repository = directory / "repository"
        artifacts = _attempts(name, lambda: _resolve(repository, coordinates))
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            files = list(pool.map(lambda one: _attempts(name, lambda: _file(one)), artifacts))
        (directory / "jars").mkdir()
        for file in files:
            file.rename(directory / "jars" / file.name)
        shutil.rmtree(repository)

    return cached(f"maven/{name}", download, progress) / "jars"


def unpacked(name: str, coordinate: str, progress: Progress = silent) -> Path:
    """Return a cached directory with the content of the zip `group:artifact:version`.

    Raises: `MavenError`.
    """

    def download(directory: Path) -> None:
        progress(f"downloading {name} from Maven Central, once: 10 to 60 s")
        group, artifact, version = coordinate.split(":")
        component = _context(directory / "repository").project(group, artifact).at_version(version)
        file = _attempts(name, lambda: _file(component.artifact(packaging="zip")))
        progress(f"unpacking {name}")
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                path = Path(archive.extract(member, directory / "content"))
                # extract() drops the permissions, and a program must stay executable.
                if mode := member.external_attr >> 16 & 0o777:
                    path.chmod(mode)
        shutil.rmtree(directory / "repository")

    return cached(f"maven/{name}", download, progress) / "content"


def _context(repository: Path) -> Any:
    # Imported late: jgo is in the extra `demo`, and this module must be importable without it.
    from jgo.maven import MavenContext  # noqa: PLC0415

    return MavenContext(repo_cache=repository, timeout=READ_TIMEOUT_SECONDS)


def _resolve(repository: Path, coordinates: Sequence[str]) -> list[Any]:
    """Return the artifacts to download, the program's first."""
    # jgo takes whatever is in its repository for whole, also what an earlier attempt left.
    shutil.rmtree(repository, ignore_errors=True)
    context = _context(repository)
    wanted = [context.create_dependency(coordinate) for coordinate in coordinates]
    program, needed = context.resolver.resolve(wanted)
    return [dependency.artifact for dependency in (*program, *needed)]


def _file(artifact: Any) -> Path:
    """Download one artifact, and check that all of it has come."""
    artifact.cached_path.unlink(missing_ok=True)
    path: Path = artifact.resolve()
    if not zipfile.is_zipfile(path):
        raise ConnectionError(f"{path.name} did not arrive whole")
    return path


def _attempts(name: str, action: Callable[[], T]) -> T:
    """Run `action`, again after 1 s when the network fails, three times in all."""
    # What requests raises is an OSError; a RuntimeError of jgo is a plain no.
    network = retry_if_exception_type(OSError)
    try:
        return Retrying(
            retry=network, stop=stop_after_attempt(3), wait=wait_fixed(1), reraise=True
        )(action)
    except OSError as error:
        raise MavenError(
            f"{name}: Maven Central cannot be reached ({type(error).__name__})"
        ) from error
    except ImportError as error:
        raise MavenError(
            f"{name}: {error.name} is not installed (pip install --group dev)"
        ) from error
    except RuntimeError as error:
        raise MavenError(f"{name}: Maven Central does not have it ({error})") from error
