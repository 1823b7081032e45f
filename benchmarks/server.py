"""A real S3 server on this machine, and the same one 30 ms away."""

import atexit
import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from benchmarks import data
from tests.conftest import KEY, SECRET, forget_s3, running_s3, s3_client

DELAY = 0.030
"""Seconds before each answer, about what S3 takes."""

PLACES = ("loopback", f"{DELAY * 1000:.0f} ms away")
"""Where the server is: on this machine, or as far away as AWS's."""


@functools.cache
def endpoint(place: str) -> str:
    """The server's address as seen from a place; it runs until this process ends."""
    if place == PLACES[0]:
        running = contextlib.ExitStack()
        atexit.register(running.close)
        folder = data.folder() / "weed"
        folder.mkdir()
        return running.enter_context(running_s3(folder))
    near = urlsplit(endpoint(PLACES[0]))
    proxy = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.delay", str(near.port), str(DELAY)],
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(proxy.kill)
    assert proxy.stdout is not None
    return f"http://127.0.0.1:{int(proxy.stdout.readline())}"


def environment(place: str) -> dict[str, str]:
    """What a process needs to know to reach it."""
    return {
        "AWS_ENDPOINT_URL": endpoint(place),
        "AWS_ENDPOINT_URL_S3": endpoint(place),
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def reached_from(place: str) -> Iterator[None]:
    """Let this process reach the server from a place."""
    before = dict(os.environ)
    os.environ.update(environment(place))
    forget_s3()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget_s3()


@functools.cache
def bucket(name: str) -> S3Store:
    """A bucket, made if need be; it has no delay."""
    client = s3_client(endpoint(PLACES[0]))
    client.create_bucket(Bucket=name)
    client.close()
    return S3Store(
        name,
        endpoint=endpoint(PLACES[0]),
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )


def upload(folder: Path, name: str, prefix: str) -> str:
    """Put a folder's files into a bucket; returns where they are."""
    store = bucket(name)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda file: obstore.put(
                    store, f"{prefix}/{file.relative_to(folder)}", file.read_bytes()
                ),
                files,
            )
        )
    return f"s3://{name}/{prefix}"
