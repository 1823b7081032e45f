"""A proxy before a real S3 server that spoils what it is told to, as networks and S3 do."""

import contextlib
import multiprocessing
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import unquote, urlsplit


class Fault(Enum):
    """What becomes of a request or of its answer."""

    SLOW_DOWN = (503, "SlowDown")
    INTERNAL = (500, "InternalError")
    EXPIRED = (400, "ExpiredToken")
    UNHEARD = "the connection is reset before the server hears of the request"
    UNANSWERED = "the server does what it is asked, and then the connection is reset"
    RESET_MIDWAY = "the connection is reset in the middle of the body"
    CUT_OFF = "the connection ends in the middle of the body"
    SHORT = "half of the body, as if it were all of it"
    TRICKLE = "the body comes in small pieces, with pauses"


NETWORK = (
    *(Fault.SLOW_DOWN, Fault.INTERNAL, Fault.UNHEARD, Fault.UNANSWERED),
    *(Fault.RESET_MIDWAY, Fault.CUT_OFF, Fault.SHORT),
)
"""What may befall any request on its way, and is over if it is made again."""


@dataclass(frozen=True)
class Rule:
    """Which requests are spoiled, and how."""

    faults: tuple[Fault, ...]
    """One after the other, and again from the first."""
    where: str = ""
    """A regular expression that is found in ``METHOD /bucket/key?query``."""
    times: int = 1
    """So often for each of these texts; the next request passes."""
    share: float = 1.0
    """Which part of them."""
    skip: int = 0
    """So many of all that match pass before."""


@dataclass
class _Plan:
    """What is to go wrong, and what did."""

    rule: Rule | None = None
    done: list[tuple[str, Fault]] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    dice: random.Random = field(default_factory=lambda: random.Random(9))

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            if (rule := self.rule) is None or not re.search(rule.where, request):
                return None
            self.seen += 1
            passes = self.seen <= rule.skip or self.hit[request] >= rule.times
            if passes or self.dice.random() >= rule.share:
                return None
            self.hit[request] += 1
            fault = rule.faults[len(self.done) % len(rule.faults)]
            self.done.append((request, fault))
            return fault


class Way:
    """The way to the server, by a proxy in a process of its own."""

    def __init__(self, endpoint: str, control: Connection) -> None:
        self.endpoint = endpoint
        self._control = control

    def spoil(self, rule: Rule | None = None) -> list[tuple[str, Fault]]:
        """From here on only this rule counts; what the one before did."""
        self._control.send(rule)
        done: list[tuple[str, Fault]] = self._control.recv()
        return done


@contextlib.contextmanager
def faulty(server: str) -> Iterator[Way]:
    """A proxy before this endpoint, for as long as the context lasts.

    It is not in this process, since deltalake holds Python's lock while it waits for S3.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, urlsplit(server).netloc), daemon=True)
    process.start()
    try:
        yield Way(f"http://127.0.0.1:{here.recv()}", here)
    finally:
        process.terminate()
        process.join()


def _serve(control: Connection, netloc: str) -> None:
    plan = _Plan()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = plan.fault(f"{self.command} {unquote(self.path)}")
            if fault is not None and isinstance(fault.value, tuple):
                return self._refuse(*fault.value)
            if fault is Fault.UNHEARD:
                return self._reset()
            with contextlib.closing(HTTPConnection(netloc)) as on:
                on.request(self.command, self.path, body, dict(self.headers.items()))
                answer = on.getresponse()
                content = answer.read()
            if fault is Fault.UNANSWERED:
                return self._reset()
            told = len(content)
            if fault in (Fault.RESET_MIDWAY, Fault.CUT_OFF, Fault.SHORT):
                content = content[: len(content) // 2]
            length = str(len(content) if fault is Fault.SHORT else told)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            if self.command == "HEAD":
                length = answer.headers.get("Content-Length", "0")
            self.send_header("Content-Length", length)
            self.end_headers()
            if fault is Fault.TRICKLE:
                for start in range(0, len(content), max(1, len(content) // 5)):
                    self.wfile.write(content[start : start + max(1, len(content) // 5)])
                    time.sleep(0.05)
            else:
                self.wfile.write(content)
            if fault is Fault.RESET_MIDWAY:
                return self._reset()
            self.close_connection = fault is Fault.CUT_OFF
            return None

        def _refuse(self, status: int, code: str) -> None:
            content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else content)

        def _reset(self) -> None:
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)  # close sends a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Nothing: what went wrong is in the plan."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def shutdown_request(self, request: object) -> None:
            with contextlib.suppress(OSError):
                super().shutdown_request(request)  # type: ignore[arg-type]

    with Server(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        control.send(proxy.server_port)
        with contextlib.suppress(EOFError):
            while True:
                rule = control.recv()
                control.send(plan.done)
                plan = _Plan(rule)
