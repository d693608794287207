"""Models lie in a directory or in a bucket of S3, and nobody who uses them sees which."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from models.registry import OutOfReach, Promotion, Registry
from models.shelf import Bucket, Directory, Shelf
from tests.backends.rclone import RcloneServer

CREATED = "2026-01-01T00:00:00Z"


def bucket(s3: RcloneServer, name: str, prefix: str = "of/headrace", **others: str) -> Bucket:
    given = {
        "endpoint": s3.url,
        "region": "us-east-1",
        "access_key_id": s3.access_key_id,
        "secret_access_key": s3.secret_access_key,
    }
    return Bucket(name, prefix, given | others)


@pytest.fixture(params=["directory", "bucket", "bucket without a prefix"])
def anew(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Shelf]:
    """Opens the same empty shelf again and again."""
    if request.param == "directory":
        return lambda: Directory(tmp_path / "made" / "when needed")
    s3: RcloneServer = request.getfixturevalue("s3")
    if request.param == "bucket":
        prefix = f"of/{uuid.uuid4().hex}"
        return lambda: bucket(s3, "models", prefix)
    return lambda: bucket(s3, "bare", "")


def test_files_and_logs_are_there_for_all_who_open_the_shelf(anew: Callable[[], Shelf]) -> None:
    assert anew().names("") == []
    assert anew().lines("log.jsonl") == []
    with pytest.raises(FileNotFoundError):
        anew().read("b.model")

    content = bytes(range(256)) * 5_000
    anew().write("b.model", b"first")
    anew().write("b.model", content)
    anew().write("a.model", b"")
    lines = [b'{"a":%d}' % number for number in range(12)]
    for line in lines:
        anew().add("log.jsonl", line)
    anew().add("another.jsonl", b"{}")

    assert anew().read("b.model") == content
    assert anew().read("a.model") == b""
    assert anew().names(".model") == ["a.model", "b.model"]
    assert anew().lines("log.jsonl") == lines
    assert anew().lines("another.jsonl") == [b"{}"]
    assert anew().place("b.model").endswith("/b.model")


@pytest.mark.parametrize("anew", ["directory", "bucket"], indirect=True)
def test_a_registry_on_it_tells_the_same(anew: Callable[[], Shelf]) -> None:
    promotions = [Promotion(version, at, CREATED) for at, version in enumerate("abc")]
    for promotion in promotions:
        Registry(anew()).note(promotion)
    Registry(anew()).report({"kind": "missed"})
    assert Registry(anew()).promotions() == promotions
    assert Registry(anew()).reports() == [{"kind": "missed"}]
    assert Registry(anew()).before() == "b"
    Registry(anew()).put("one", b"x")
    assert Registry(anew()).versions() == ["one"]
    assert Registry(anew()).content("one") == b"x"


def test_what_is_wrong_with_a_bucket_is_one_line_without_the_secret(s3: RcloneServer) -> None:
    wrong = {
        "there is no such bucket": bucket(s3, "absent"),
        "SignatureDoesNotMatch": bucket(s3, "models", secret_access_key="not the secret"),
        "error sending request": bucket(s3, "models", endpoint="http://127.0.0.1:9"),
    }
    for said, shelf in wrong.items():
        with pytest.raises(OutOfReach) as told:
            Registry(shelf).content("one")
        assert said in str(told.value)
        assert str(told.value).startswith("s3://")
        assert "\n" not in str(told.value)
        assert "secret" not in str(told.value)
        with pytest.raises(OSError, match=said):
            shelf.write("one.model", b"x")
