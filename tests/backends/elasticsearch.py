"""The real Elasticsearch 9.2, in the distribution that its own integration tests use."""

import os
import pwd
import shutil
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.backends.cache import Progress, silent
from tests.backends.java import QUICK_START, java_home
from tests.backends.maven import MavenError, unpacked
from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port, listens

VERSION = "9.2.0"
COORDINATE = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}"
NAME = f"Elasticsearch {VERSION}"
WAY_OUT = "or set HEADRACE_TEST_ELASTICSEARCH_URL to use one that is running already"

SETTINGS = {
    "discovery.type": "single-node",
    "network.host": LOCALHOST,
    "xpack.security.enabled": "false",
    # A laptop with a full disk would otherwise make every index read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}


class ElasticsearchServer(Server):
    """One node without security, in the distribution with the fewest modules.

    It is downloaded once into the cache (99 MB, 10 to 60 s), and needs a JDK 21 or newer of the
    machine's own. A start takes 10 to 20 s and 1 GB of memory (`heap` is half of it).

    There are: bulk, search, aggregations, index templates, data streams and their lifecycle.
    There are not: `GET /` (so the client's `info()` fails), ILM, ES|QL, scripts.

    It refuses to run as root. Started by root, it runs as `nobody`, from a copy of its files in
    a temporary directory that goes away with this object; `directory` is then not used.

    `settings` are those of `elasticsearch.yml`, and win over the ones set here.
    """

    name = NAME
    start_seconds = 120

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        heap: str = "512m",
        progress: Progress = silent,
    ) -> None:
        if os.geteuid() == 0:
            self.user = pwd.getpwnam("nobody").pw_uid
            self._copy = tempfile.TemporaryDirectory(prefix="headrace-elasticsearch-")
            directory = Path(self._copy.name)
        super().__init__(directory)
        self.port = port or free_port()
        self.transport_port = free_port()
        self.settings = dict(settings or {})
        self.heap = heap
        self.progress = progress

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOCALHOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the node's command line, after writing its configuration."""
        home = prepare(self.progress)
        config = self.directory / "config"
        if not config.exists():
            shutil.copytree(home / "config", config)
        (self.directory / "tmp").mkdir(exist_ok=True)
        settings = SETTINGS | {
            "http.port": str(self.port),
            "transport.port": str(self.transport_port),
            "path.data": str(self.directory / "data"),
            "path.logs": str(self.directory / "logs"),
        }
        text = "".join(f"{key}: {value}\n" for key, value in (settings | self.settings).items())
        (config / "elasticsearch.yml").write_text(text)
        if self.user is not None:
            home = self._hand_over(home, self.user)
        return [str(home / "bin" / "elasticsearch")]

    def environment(self) -> Mapping[str, str]:
        """Return our environment, with the JDK and the directories that the node is to use."""
        temporary = str(self.directory / "tmp")
        return os.environ | {
            "ES_JAVA_HOME": str(java_home(self.name, 21, "jdk.incubator.vector")),
            "ES_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap} {QUICK_START}",
            "ES_PATH_CONF": str(self.directory / "config"),
            "ES_TMPDIR": temporary,
            # Its launcher is a JVM of its own, which leaves a file behind at each start.
            "CLI_JAVA_OPTS": f"-Djava.io.tmpdir={temporary} {QUICK_START}",
            "HOME": str(self.directory),
        }

    def is_ready(self) -> bool:
        """Say whether the node has elected itself and takes requests."""
        if not listens(self.port):
            return False
        health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        with urllib.request.urlopen(health, timeout=5) as response:
            return bool(response.status == 200)

    def _hand_over(self, home: Path, user: int) -> Path:
        """Give the directory, with a copy of the program in it, to another user."""
        # The cache may be in a home directory that nobody else may enter.
        copy = self.directory / "home"
        if not copy.exists():
            shutil.copytree(home, copy)
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
        return copy


def prepare(progress: Progress = silent) -> Path:
    """Return the directory of the program, downloading it the first time.

    Raises: `UnavailableError` if Maven Central cannot be reached, or there is no fitting JDK.
    """
    try:
        java_home(NAME, 21, "jdk.incubator.vector")
        content = unpacked(f"elasticsearch-{VERSION}", COORDINATE, progress)
    except (MavenError, UnavailableError) as error:
        raise UnavailableError(f"{error}; {WAY_OUT}") from error
    return content / f"elasticsearch-{VERSION}"
