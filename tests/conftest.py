"""Places to test on: a folder, and servers that start when a test first asks for them.

A real S3 server holds buckets; moto stands in for CloudWatch Logs, EC2, SNS and SQS.
"""

import contextlib
import json
import os
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import settings

from flowlake import delivering, storage

KEY, SECRET = "ci-key", "ci-secret"
"""The server's admin. The other identities: ``READER`` may read and list the bucket ``lake``."""
READER = ("ro-key", "ro-secret")
NOBODY = ("no-key", "no-secret")

_SERVERS = ("master", "volume", "filer", "s3", "admin")


settings.register_profile("few", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("many", max_examples=1000, deadline=None)
settings.load_profile("few")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, so that no core waits for the other at the end."""
    items.sort(key=lambda item: item.get_closest_marker("spark") is None)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a SeaweedFS with a bucket ``lake`` and three identities."""
    with running_s3(tmp_path_factory.mktemp("weed")) as endpoint:
        yield endpoint


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """Such a server for as long as the context lasts, with its data in the folder."""
    config = folder / "s3.json"
    identities = [
        (KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
        (*READER, ["Read:lake", "List:lake"]),
        (*NOBODY, []),
    ]
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": key,
                        "credentials": [{"accessKey": key, "secretKey": secret}],
                        "actions": actions,
                    }
                    for key, secret, actions in identities
                ]
            }
        )
    )
    names = [f"{server}.port{grpc}" for server in _SERVERS for grpc in ("", ".grpc")]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    weed = Path(sysconfig.get_path("scripts"), "weed")
    with (folder / "weed.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(weed, "mini", f"-dir={folder}", f"-s3.config={config}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
                "-master.volumeSizeLimitMB=16",  # more volumes: each bucket takes several
                *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *(f"-filer.localSocket={folder}/f.sock", f"-s3.localSocket={folder}/s.sock"),
                *(f"-{name}={port}" for name, port in ports.items()),
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "GOMEMLIMIT": "300MiB"},
        )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for(endpoint, server, folder / "weed.log")
        yield endpoint
    finally:
        server.kill()
        server.wait()
        for port in ports.values():
            for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-grpc-{port}.sock"):
                left.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(endpoint: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Listing works before putting does: wait for a put."""
    client = s3_client(endpoint)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="lake")
            client.put_object(Bucket="lake", Key="ready", Body=b"")
            client.delete_object(Bucket="lake", Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-3000:]) from error
            time.sleep(0.05)
        finally:
            client.close()


def s3_client(endpoint: str) -> Any:
    """Boto3 as the admin, to set a stage that FlowLake itself would not."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def forget_s3() -> None:
    """Make FlowLake look at the environment again."""
    storage._open.cache_clear()
    storage._open_group.cache_clear()
    storage.aws_settings.cache_clear()
    delivering._topics.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def use_key(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    """From here on, reach S3 with this key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    forget_s3()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An environment that says nothing of AWS."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    forget_s3()
    yield
    forget_s3()


@pytest.fixture
def s3(s3_server: str, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, ``s3://…``, and the environment to reach it as the admin."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    use_key(monkeypatch, KEY, SECRET)
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    client = s3_client(s3_server)
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The endpoint of a moto in this process: CloudWatch Logs, EC2, IAM, SNS and SQS."""
    from moto.server import ThreadedMotoServer  # a second, for the tests that ask for it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto(moto_server: str, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A moto that knows nothing yet, and the environment to reach it, in ``eu-west-1``."""
    urllib.request.urlopen(f"{moto_server}/moto-api/reset", data=b"").close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    use_key(monkeypatch, "any-key", "any-secret")
    return moto_server


on_s3_rarely = pytest.mark.parametrize(
    "place", ["folder", pytest.param("s3", marks=pytest.mark.long)], indirect=True
)
"""For what takes long on S3, and is no other there than the tests around it."""


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh and empty place: append ``/raw``, ``/lake``, …"""
    if request.param == "s3":
        return str(request.getfixturevalue("s3"))
    folder = tmp_path / "place"
    folder.mkdir()
    return str(folder)
