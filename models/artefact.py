"""A trained model as one file: what it was made of, what it learned, and proof that it is whole.

    HEADRACE-MODEL/1                  what it is, and the version of this form
    {"version": "…", …}               the manifest: one line of JSON
    hmac-sha256 …                     its signature, or the word ``unsigned``; see ``models.signing``
    ARROW1 …                          what was learned, as an Arrow file

The manifest has the checksum of what follows, and the signature is of the manifest: so whoever has
the key signed all of it. Nothing in it is run. What a detector of ours learned is plain numbers;
what a model of River's learned is read by ``models.trusted``, which makes a model's parts only.
"""

from __future__ import annotations

import hashlib
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any, Final

import orjson
import polars as pl

from models.base import Detector
from models.named import BadDetector, new_detector
from models.signing import BadKey, Foreign, Keys

__all__ = ["FORM", "BadArtefact", "Trained", "read_artefact", "write_artefact"]

FORM: Final = 1
_MAGIC: Final = b"HEADRACE-MODEL/"
_LIBRARIES: Final = ("numpy", "polars", "river")
_RIVER: Final = "river."
_KNOWN: Final = (
    "version", "created", "detector", "options", "features", "alerts", "window", "since", "until",
    "series", "rollups", "payload", "state",
)  # fmt: skip
"""What every manifest has."""


class BadArtefact(ValueError):
    """A file that is no model, is damaged, is of a newer Headrace, or is signed by nobody known.

    The text is one line: which, why, and what to do.
    """


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector with what it learned of some series.

    Attributes:
        manifest: what is known of it, see ``write_artefact``.
        states: ``series`` (its id) and ``detector`` (what a bank's state is), a row each.
        signed: whether it was signed with the key that was given.
    """

    manifest: Mapping[str, Any]
    states: pl.DataFrame
    signed: bool = False

    @property
    def version(self) -> str:
        """Its name: the time it was made, and the beginning of a checksum of all that it is."""
        return str(self.manifest["version"])

    @property
    def detector(self) -> str:
        """The detector's name."""
        return str(self.manifest["detector"])

    def new_detector(self) -> Detector:
        """Return a fresh detector of this kind.

        Raises:
            BadDetector: nothing has this name here, or it takes no such options.
        """
        return new_detector(
            self.detector, self.manifest["options"], alerts=self.manifest["alerts"],
            window=self.manifest["window"], features=tuple(self.manifest["features"]),
        )  # fmt: skip


def write_artefact(
    facts: Mapping[str, Any],
    states: pl.DataFrame,
    *,
    created: str,
    key: bytes | Keys | None = None,
) -> tuple[str, bytes]:
    """Return the version and the bytes of a trained model.

    Args:
        facts: ``detector``, ``options``, ``features``, ``alerts``; ``window`` in nanoseconds;
            ``since`` and ``until``, the span of what it learned, in nanoseconds; ``rollups``; and
            whatever else is known, as the scores of its evaluation.
        states: as in ``Trained``.
        created: when it was made, RFC 3339.
        key: signs it.

    Raises:
        BadKey: it can't be used.
    """
    buffer = io.BytesIO()
    ordered = states.select("series", "detector").sort("series")
    ordered.write_ipc(buffer, compression="zstd")
    payload = buffer.getvalue()
    checksum = hashlib.sha256(payload).hexdigest()
    made = "".join(character for character in created[:19] if character.isalnum())
    # Two that learned the same may differ in their options alone, and be made in the same second.
    told = orjson.dumps([checksum, facts], option=orjson.OPT_SORT_KEYS)
    manifest = {
        **facts,
        "version": f"{made}-{hashlib.sha256(told).hexdigest()[:8]}",
        "created": created,
        "series": ordered.height,
        "state": str(ordered.schema["detector"]),
        "libraries": {name: version_of(name) for name in _LIBRARIES}
        | {"python": platform.python_version()},
        "payload": {"sha256": checksum, "bytes": len(payload)},
    }
    line = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    signature = Keys.of(key).sign(line)
    head = b"%b%d\n%b\n%b\n" % (_MAGIC, FORM, line, signature.encode())
    return str(manifest["version"]), head + payload


def read_artefact(
    content: bytes, name: str, *, key: bytes | Keys | None = None, manifest_only: bool = False
) -> Trained:
    """Return a trained model.

    Args:
        content: of the file.
        name: what it is called in what is said.
        key: with which it has to be signed; without one, a signature is not looked at.
        manifest_only: leave out what was learned, which is not looked at then.

    Raises:
        BadArtefact: it can't be used.
    """
    lines = content.split(b"\n", 3)
    if not content.startswith(_MAGIC) or len(lines) < 4:
        raise BadArtefact(f"{name}: this is no model of Headrace's: it begins with something else")
    form, line, signature, payload = lines
    number = form.removeprefix(_MAGIC)
    if not number.isdigit() or number.startswith(b"0"):
        raise BadArtefact(f"{name}: damaged: the version of its form can't be read")
    if int(number) > FORM:
        raise BadArtefact(
            f"{name}: of a newer Headrace (form {int(number)}, this one reads {FORM}): update "
            "Headrace, or retrain"
        )
    signed = _check_signature(name, line, signature.decode("ascii", "replace"), Keys.of(key))
    try:
        manifest = orjson.loads(line)
        missing = [fact for fact in _KNOWN if fact not in manifest]
        payload_facts = manifest["payload"]
        checksum, size = payload_facts["sha256"], payload_facts["bytes"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadArtefact(f"{name}: damaged: its manifest can't be read") from None
    if missing:
        raise BadArtefact(f"{name}: its manifest lacks {', '.join(missing)}: retrain")
    if len(payload) != size or hashlib.sha256(payload).hexdigest() != checksum:
        raise BadArtefact(f"{name}: damaged: its checksum is not what its manifest says")
    trained = Trained(manifest, pl.DataFrame(), signed)
    if manifest_only:
        return trained
    _check_libraries(name, manifest)
    return Trained(manifest, _states(name, trained, payload), signed)


def _check_signature(name: str, line: bytes, signature: str, keys: Keys) -> bool:
    try:
        return keys.check(line, signature)
    except Foreign as error:
        raise BadArtefact(f"{name}: foreign: {error}") from None
    except BadKey as error:
        raise BadArtefact(str(error)) from None


def _check_libraries(name: str, manifest: Mapping[str, Any]) -> None:
    """A River model's state is River's own objects, which another version of it may not know."""
    if not str(manifest["detector"]).startswith(_RIVER):
        return
    made, here = manifest.get("libraries", {}).get("river"), version_of("river")
    if made != here:
        raise BadArtefact(
            f"{name}: made with River {made}, here is {here}: install that one, or retrain"
        )


def _states(name: str, trained: Trained, payload: bytes) -> pl.DataFrame:
    try:
        states = pl.read_ipc(io.BytesIO(payload))
        bank = trained.new_detector().bank()
        bank.grow(1)
    except BadDetector as error:
        raise BadArtefact(f"{name}: {error}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadArtefact(f"{name}: damaged: {str(error).splitlines()[0]}") from None
    wanted = {"series": pl.UInt64(), "detector": bank.state.dtype}
    if dict(states.schema) != wanted and states.height:
        raise BadArtefact(
            f"{name}: {trained.detector} of this Headrace keeps {wanted['detector']}, the model has "
            f"{states.schema.get('detector')}: retrain"
        )
    try:
        bank.resume(states["detector"])  # a flow must not meet what can't be read
    except Exception as error:
        raise BadArtefact(f"{name}: foreign: what was learned can't be read: {error}") from None
    return states
