"""An artefact is read as it was written, or refused in one line that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artefact import BadArtefact, read_artefact, write_artefact
from models.named import new_detector
from models.registry import Promotion, Registry
from models.signing import BadKey, Keys

CREATED = "2026-01-31T10:00:00.000Z"
DETECTORS = ("peak_rank", "robust_ewma", "river.anomaly.StandardAbsoluteDeviation")


def learned(detector: str) -> pl.DataFrame:
    """Return what three detectors learned."""
    bank = new_detector(detector).bank()
    bank.grow(3)
    rows = np.tile(np.arange(3, dtype=np.int32), 50)
    values = np.random.default_rng(1).normal(10, 1, 150)
    bank.judge_then_learn(rows, values, np.repeat(np.arange(50), 3) * 10**10)
    return pl.DataFrame({"series": [7, 5, 2**63 + 1], "detector": bank.state},
                        schema_overrides={"series": pl.UInt64})  # fmt: skip


def facts(detector: str = "peak_rank") -> dict[str, Any]:
    return {"detector": detector, "options": {}, "features": ["value"] if "river" in detector else [],
            "alerts": 1.0, "window": 10**10, "since": 0, "until": 10**12, "rollups": 150}  # fmt: skip


def made(detector: str = "peak_rank", key: bytes | Keys | None = None) -> bytes:
    return write_artefact(facts(detector), learned(detector), created=CREATED, key=key)[1]


@pytest.mark.parametrize("detector", DETECTORS)
def test_what_was_learned_goes_on(detector: str) -> None:
    version, content = write_artefact(facts(detector), learned(detector), created=CREATED)
    trained = read_artefact(content, "x")
    assert version.startswith("20260131T100000-")
    assert trained.version == version
    assert trained.states["series"].to_list() == [5, 7, 2**63 + 1]
    one, two = (
        new_detector(detector, features=tuple(facts(detector)["features"])).bank() for _ in range(2)
    )
    one.resume(learned(detector).sort("series")["detector"])
    two.grow(5)
    two.put(np.array([4, 0, 2]), trained.states["detector"])
    rows = np.array([0, 1, 2, 0], np.int32)
    values, times = np.array([11.0, 30.0, 9.0, 12.0]), np.arange(50, 54) * 10**10
    expected = one.judge_then_learn(rows, values, times)
    found = two.judge_then_learn(np.array([4, 0, 2], np.int32)[rows], values, times)
    assert found.tobytes() == expected.tobytes()


def test_the_same_is_written_twice() -> None:
    assert made() == made()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no model of Headrace's"),
        (b"\x89PNG\r\n\x1a\n\n\n\n", "no model of Headrace's"),
        (made().replace(b"MODEL/1", b"MODEL/2"), "of a newer Headrace (form 2, this one reads 1)"),
        (made().replace(b"MODEL/1", b"MODEL/x"), "damaged: the version of its form"),
        (made()[:-1], "damaged: its checksum is not"),
        (made().replace(b'"alerts"', b'"alarms"'), "its manifest lacks alerts"),
        (made().replace(b'{"alerts"', b"{alerts"), "damaged: its manifest can't be read"),
        (made().replace(b'"peak_rank"', b'"peak_tank"'), 'there is no detector "peak_tank"'),
        (made().replace(b'"peak_rank"', b'"robust_ewma"'), "robust_ewma of this Headrace keeps"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(BadArtefact) as refused:
        read_artefact(content, "a.model")
    assert str(refused.value).startswith("a.model: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_river_model_of_another_version_of_river_is_refused() -> None:
    content = made("river.anomaly.StandardAbsoluteDeviation")
    lines = content.split(b"\n", 3)
    manifest = orjson.loads(lines[1])
    manifest["libraries"]["river"] = "0.1.0"
    lines[1] = orjson.dumps(manifest)
    with pytest.raises(BadArtefact, match=r"made with River 0\.1\.0, here is"):
        read_artefact(b"\n".join(lines), "a.model")


def test_two_that_differ_in_their_options_alone_have_two_versions() -> None:
    given, states = facts("robust_ewma"), learned("robust_ewma")
    versions = {
        write_artefact({**given, "options": {"width": width}}, states, created=CREATED)[0]
        for width in (5.0, 25.0, 25.0)
    }
    assert len(versions) == 2


def test_a_signature_is_asked_for_where_there_is_a_key() -> None:
    signed = made(key=b"secret")
    assert read_artefact(signed, "x", key=b"secret").signed
    assert not read_artefact(signed, "x").signed
    for foreign in (made(), made(key=b"another"), signed.replace(b'"alerts":1.0', b'"alerts":9.0')):
        with pytest.raises(BadArtefact, match="foreign"):
            read_artefact(foreign, "x", key=b"secret")


def pair() -> tuple[bytes, bytes]:
    """Return a new private key and its public one, as ``openssl genpkey`` writes them."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def test_who_has_the_public_key_can_check_and_not_sign() -> None:
    (private, public), (_, other) = pair(), pair()
    signed = made(key=Keys(private=private))
    assert read_artefact(signed, "x", key=Keys(trusted=(other, public))).signed
    assert read_artefact(signed, "x", key=Keys(private=private)).signed
    both = Keys(b"secret", trusted=(public,))  # while one takes the place of the other
    assert read_artefact(signed, "x", key=both).signed
    assert read_artefact(made(key=b"secret"), "x", key=both).signed
    for keys in (Keys(trusted=(other,)), Keys(b"secret")):
        with pytest.raises(BadArtefact, match="foreign"):
            read_artefact(signed, "x", key=keys)
    with pytest.raises(BadArtefact, match="it is not signed"):
        read_artefact(made(), "x", key=Keys(trusted=(public,)))


@pytest.mark.parametrize(
    ("keys", "fault"),
    [(Keys(private=b"x"), "models.private_key: no private key of Ed25519"),
     (Keys(trusted=(pair()[0],)), "models.trusted: no public key of Ed25519")],
)  # fmt: skip
def test_a_key_that_is_none_is_named_and_not_shown(keys: Keys, fault: str) -> None:
    with pytest.raises(BadKey, match=fault) as found:
        keys.verify()
    assert "PRIVATE" not in str(found.value)


SHARED, PAIR = Keys(b"secret"), Keys(private=pair()[0])
WHOLE = {keys: made(key=keys) for keys in (SHARED, PAIR)}


@given(keys=st.sampled_from([SHARED, PAIR]), place=st.integers(0, 2**20), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=100)
def test_no_altered_bit_gets_through_a_signature(keys: Keys, place: int, bit: int) -> None:
    altered = bytearray(WHOLE[keys])
    altered[place % len(altered)] ^= 1 << bit
    with pytest.raises(BadArtefact):
        read_artefact(bytes(altered), "x", key=keys)


def test_what_a_river_artefact_names_is_not_run() -> None:
    states = learned("river.anomaly.StandardAbsoluteDeviation")
    numbers = orjson.dumps([9.0, [1.0] * 4, [1.0] * 13])
    evil = len(numbers).to_bytes(4, "little") + numbers + b"cos\nsystem\n(S'true'\ntR."
    states = states.with_columns(detector=pl.Series([evil] * 3))
    river = facts("river.anomaly.StandardAbsoluteDeviation")
    with pytest.raises(BadArtefact, match=r"a detector's state names os\.system"):
        read_artefact(write_artefact(river, states, created=CREATED)[1], "x")


def test_rollbacks_lead_back_one_promotion_each(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "new")
    assert registry.before() is None
    for version in ("a", "b", "c"):
        registry.note(Promotion(version, 1, CREATED))
    went = []
    while (before := registry.before()) is not None:
        went.append(before)
        registry.note(Promotion(before, 1, CREATED, rollback=True))
    assert went == ["b", "a", ""]


def test_a_name_can_lead_nowhere_else(tmp_path: Path) -> None:
    for name in ("../x", "", "a/b", ".hidden"):
        with pytest.raises(BadArtefact, match="is no version"):
            Registry(tmp_path).load(name)
