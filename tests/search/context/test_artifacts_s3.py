"""Weights in a bucket, against a local server that speaks S3."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed: weights in S3 are not tested")
pytest.importorskip("moto.server", reason="moto is not installed: weights in S3 are not tested")

from autoprune.errors import ConfigError, StorageFailed
from autoprune.search.context.artifacts import artifact_place


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "REGION": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running = ThreadedMotoServer("127.0.0.1", 0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3").create_bucket(Bucket="kept")
    yield f"http://{host}:{port}"
    running.stop()


def test_weights_lie_below_the_prefix_and_come_back(server: str) -> None:
    import boto3
    from optuna.artifacts.exceptions import ArtifactNotFound

    place = artifact_place("s3://kept/studies/five/")
    place.store.write("a-1", io.BytesIO(b"weights"))
    listed = boto3.client("s3").list_objects_v2(Bucket="kept")["Contents"]
    assert [each["Key"] for each in listed] == ["studies/five/a-1"]
    with artifact_place("s3://kept/studies/five").store.open_reader("a-1") as kept:
        assert kept.read() == b"weights"
    place.store.remove("a-1")
    with pytest.raises(ArtifactNotFound):
        place.store.open_reader("a-1")


def test_a_bucket_that_is_not_there_is_said_before_any_work(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"--artifacts: s3://missing: .*404"):
        artifact_place("s3://missing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageFailed, match="s3://kept"):
        artifact_place("s3://kept")
