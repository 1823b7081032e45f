"""A proxy before a real S3 server: what is asked of S3, as IAM sees it, and what a policy refuses.

Its answers are those of the server, but for two things that only IAM does: what the policies do
not allow is denied, and an object that is not there is denied to whom may not list it. It is a
process of its own, ``python -m tests.rights SERVER``: delta-rs waits for S3 with Python's lock
in its hands.
"""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from flowlake.setup.policies import Policy


@dataclass(frozen=True)
class Call:
    """One use of a right: the action, on what, and the condition keys of the request."""

    action: str
    resource: str
    keys: tuple[tuple[str, str], ...] = ()


def s3_calls(method: str, target: str, headers: Mapping[str, str], body: bytes) -> list[Call]:
    """What a request to S3 needs (Amazon S3 User Guide, "Required permissions for Amazon S3 API
    operations")."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if not key:
        return _bucket_calls(method, arn, query, body)
    assert "x-amz-copy-source" not in {name.lower() for name in headers}
    known = query.keys() - {"x-id"}
    operations = {
        ("GET", ()): "GetObject",
        ("HEAD", ()): "GetObject",
        ("PUT", ()): "PutObject",
        ("DELETE", ()): "DeleteObject",
        ("POST", ("uploads",)): "PutObject",
        ("PUT", ("partNumber", "uploadId")): "PutObject",
        ("POST", ("uploadId",)): "PutObject",
        ("DELETE", ("uploadId",)): "AbortMultipartUpload",
        ("GET", ("uploadId",)): "ListMultipartUploadParts",
    }
    return [Call(f"s3:{operations[method, tuple(sorted(known))]}", f"{arn}/{key}")]


def _bucket_calls(
    method: str, arn: str, query: Mapping[str, Sequence[str]], body: bytes
) -> list[Call]:
    if method == "POST" and "delete" in query:
        named = [each.text for each in ElementTree.fromstring(body).iterfind(".//{*}Key")]
        return [Call("s3:DeleteObject", f"{arn}/{name}") for name in named]
    assert method == "GET", (method, query)
    assert "list-type" in query, query
    return [Call("s3:ListBucket", arn, (("s3:prefix", query.get("prefix", [""])[0]),))]


def allowed(call: Call, policies: Sequence[Policy]) -> bool:
    """Whether a statement of the policies allows it, as IAM decides."""
    statements = [each for policy in policies for each in policy["Statement"]]
    return any(_allows(each, call) for each in statements)


def _allows(statement: Mapping[str, Any], call: Call) -> bool:
    keys = dict(call.keys)
    conditions = statement.get("Condition", {})
    assert statement["Effect"] == "Allow"
    assert conditions.keys() <= {"StringLike", "StringEquals"}
    return (
        call.action in listed(statement["Action"])
        and _matches(call.resource, statement["Resource"])
        and all(
            key in keys and _matches(keys[key], patterns)
            for condition in conditions.values()
            for key, patterns in condition.items()
        )
    )


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _matches(text: str, patterns: Any) -> bool:
    assert not any("[" in pattern for pattern in listed(patterns)), "not in IAM's language"
    return any(fnmatchcase(text, pattern) for pattern in listed(patterns))


class Proxy(ThreadingHTTPServer):
    """What was asked since it was told what is allowed."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.server = urlsplit(server).netloc
        self.told: dict[str, Any] = {"policies": None, "breaks_parts": False}
        self.calls: list[Call] = []
        self.denied: list[Call] = []

    def allows(self, call: Call) -> bool:
        return self.told["policies"] is None or allowed(call, self.told["policies"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def serve(self) -> None:
        assert "Transfer-Encoding" not in self.headers
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy = self.server
        if self.path == CONTROL:
            if self.command == "POST":
                proxy.told, proxy.calls, proxy.denied = json.loads(body), [], []
            found = {"calls": proxy.calls, "denied": proxy.denied}
            self._answer(200, json.dumps(found, default=asdict).encode())
            return
        headers = dict(self.headers.items())
        calls = s3_calls(self.command, self.path, headers, body)
        proxy.calls += calls
        if denied := [call for call in calls if not proxy.allows(call)]:
            self._deny(denied)
        elif proxy.told["breaks_parts"] and "partNumber" in self.path:
            self._refuse(400, "InvalidPart")
        else:
            self._pass_on(calls, headers, body)

    def _pass_on(self, calls: list[Call], headers: dict[str, str], body: bytes) -> None:
        with contextlib.closing(HTTPConnection(self.server.server)) as on:
            on.request(self.command, self.path, body, headers)  # Host as it was signed
            answer = on.getresponse()
            content = answer.read()
        if answer.status == 404 and calls[0].action == "s3:GetObject":
            bucket, _, key = calls[0].resource.partition("/")
            if not self.server.allows(Call("s3:ListBucket", bucket, (("s3:prefix", key),))):
                self._deny(calls)
                return
        self._answer(answer.status, content, answer.getheaders())

    def _deny(self, calls: list[Call]) -> None:
        self.server.denied += calls
        self._refuse(403, "AccessDenied")

    def _refuse(self, status: int, code: str) -> None:
        content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self._answer(status, b"" if self.command == "HEAD" else content)

    def _answer(self, status: int, content: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        kept = {name.lower(): value for name, value in headers}
        for name in ("transfer-encoding", "connection", "date", "server"):
            kept.pop(name, None)
        kept.setdefault("content-length", str(len(content)))
        self.send_response(status)
        for name, value in kept.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # a client may have heard enough
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: what is asked is recorded."""


CONTROL = "/-"
"""No bucket is called so: what the test tells the proxy and asks it."""


@dataclass(frozen=True)
class Recorder:
    """The proxy, from the test's side."""

    endpoint: str

    def allow(self, *policies: Policy, breaks_parts: bool = False) -> None:
        """From here on allow what these policies do, and forget what was asked."""
        told = {"policies": policies or None, "breaks_parts": breaks_parts}
        self._control(json.dumps(told).encode())

    def calls(self) -> list[Call]:
        """What was asked since."""
        return self._calls("calls")

    def denied(self) -> list[Call]:
        """What of that was denied."""
        return self._calls("denied")

    def _calls(self, name: str) -> list[Call]:
        found = self._control(None)[name]
        return [
            Call(each["action"], each["resource"], tuple(map(tuple, each["keys"])))
            for each in found
        ]

    def _control(self, body: bytes | None) -> Any:
        with urllib.request.urlopen(self.endpoint + CONTROL, body, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def recording(server: str) -> Iterator[Recorder]:
    """A proxy before this endpoint, for as long as the context lasts."""
    command = [sys.executable, "-m", "tests.rights", server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield Recorder(f"http://127.0.0.1:{int(proxy.stdout.readline())}")
        finally:
            proxy.kill()


if __name__ == "__main__":
    with Proxy(sys.argv[1]) as proxy:
        print(proxy.server_port, flush=True)
        proxy.serve_forever()
