"""Builds `influxd` from InfluxDB's Go module: two to five minutes, once for each machine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.backends.cache import Progress, cached, silent
from tests.backends.process import UnavailableError

VERSION = "2.7.12"
NAME = f"InfluxDB {VERSION}"
MODULE = "github.com/influxdata/influxdb/v2"
FLUX_BUILDER = "github.com/influxdata/pkg-config@v0.2.7"
WAY_OUT = "or set HEADRACE_TEST_INFLUXDB_URL, _ORG and _TOKEN to use one that is running already"

# With its default features, Flux takes each warning of a newer Rust for an error.
CARGO = '#!/bin/sh\ncd flux && exec cargo "$@" --no-default-features --features cffi\n'


def influxd(progress: Progress = silent) -> Path:
    """Return the path of `influxd`, building it the first time.

    The build needs Go 1.23, Rust and a C compiler. It downloads some 500 MB into Go's module
    cache and leaves a binary of 80 MB in ours.

    Raises: `UnavailableError` if a compiler is missing or the build fails.
    """

    def build(directory: Path) -> None:
        for tool in ("go", "cargo", "cc"):
            if shutil.which(tool) is None:
                raise UnavailableError(
                    f"{NAME} has to be built, and `{tool}` is not installed: "
                    f"install Go, Rust and a C compiler, {WAY_OUT}"
                )
        progress(f"building {NAME} from its Go module, once: 2 to 5 minutes")
        log = directory / "build.log"
        source = directory / "source"
        source.mkdir()
        try:
            _build(source, directory / "influxd", log)
        except (OSError, subprocess.CalledProcessError) as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise UnavailableError(
                f"{NAME} could not be built ({error}), {WAY_OUT}; the end of the build:\n{tail}"
            ) from error
        shutil.rmtree(source)

    return cached(f"influxd-{VERSION}", build, progress) / "influxd"


def _build(source: Path, binary: Path, log: Path) -> None:
    """Compile the program in `source`, which is empty before, to `binary`."""
    environment = _environment(source)
    with log.open("wb") as output:

        def go(*arguments: str) -> None:
            subprocess.run(
                ["go", *arguments],
                cwd=source,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
            )

        go("install", FLUX_BUILDER)
        _write_module(source, environment)
        go("build", "-ldflags=-s -w", "-o", str(binary), ".")


def _environment(source: Path) -> Mapping[str, str]:
    environment = os.environ | {
        "GOBIN": str(source),
        # go.mod is InfluxDB's, and lacks InfluxDB itself: let Go complete it.
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOWORK": "off",
        "CGO_ENABLED": "1",
        # This is how InfluxDB builds Flux, which is Rust: as if it were a C library.
        "PKG_CONFIG": str(source / "pkg-config"),
        "CARGO": str(source / "cargo.sh"),
    }
    environment.pop("CARGO_TARGET_DIR", None)
    if "RUSTUP_TOOLCHAIN" not in environment and shutil.which("rustup"):
        # Flux pins an old Rust, which rustup would download.
        active = subprocess.run(
            ["rustup", "show", "active-toolchain"], capture_output=True, text=True, check=True
        )
        environment["RUSTUP_TOOLCHAIN"] = active.stdout.split()[0]
    return environment


def _write_module(source: Path, environment: Mapping[str, str]) -> None:
    """Write a Go module that has InfluxDB's own dependencies, its `replace` lines included."""
    found = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@v{VERSION}"],
        cwd=source.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    original = Path(json.loads(found.stdout)["Dir"])
    text = (original / "go.mod").read_text()
    text = re.sub(r"^module .*", "module influxd", text, flags=re.MULTILINE)
    text = re.sub(r"^toolchain .*\n", "", text, flags=re.MULTILINE)
    (source / "go.mod").write_text(f"{text}\nrequire {MODULE} v{VERSION}\n")
    (source / "go.sum").write_bytes((original / "go.sum").read_bytes())
    (source / "main.go").write_bytes(Path(__file__).with_name("main.go").read_bytes())
    (source / "cargo.sh").write_text(CARGO)
    (source / "cargo.sh").chmod(0o755)
