"""collectd from Debian, in the foreground: the producer of `collectd_json`."""

import shutil
import subprocess
from pathlib import Path

from tests.backends.process import Server, UnavailableError

PLUGINS = ("cpu", "load", "memory", "interface")
MISSING = (
    "collectd with write_kafka is not here: apt-get install collectd-core librdkafka1 libyajl2"
)


class Collectd(Server):
    """A collectd that reads this machine each second, and writes to a topic of Kafka."""

    name = "collectd"

    def __init__(
        self,
        directory: Path,
        bootstrap_servers: str,
        topic: str,
        *,
        store_rates: bool | None = None,
    ) -> None:
        super().__init__(directory)
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        self.store_rates = store_rates

    def command(self) -> list[str]:
        program = shutil.which("collectd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise UnavailableError(MISSING)
        rates = "" if self.store_rates is None else f"StoreRates {str(self.store_rates).lower()}"
        load = "\n".join(f"LoadPlugin {name}" for name in (*PLUGINS, "write_kafka"))
        config = self.directory / "collectd.conf"
        config.write_text(f"""\
Hostname "test-host"
FQDNLookup false
Interval 1
BaseDir "{self.directory}"
PIDFile "{self.directory}/collectd.pid"
{load}
<Plugin write_kafka>
  Property "metadata.broker.list" "{self.bootstrap_servers}"
  <Topic "{self.topic}">
    Format JSON
    {rates}
  </Topic>
</Plugin>
""")
        tested = subprocess.run(
            [program, "-t", "-C", str(config)], capture_output=True, text=True, check=False
        )
        if tested.returncode:  # a plugin whose library is missing, mostly
            raise UnavailableError(f"{MISSING}\n{tested.stderr}")
        return [program, "-f", "-C", str(config)]

    def is_ready(self) -> bool:
        return "Initialization complete" in self.log.read_text(errors="replace")
