"""Drawing the conversations of one kind in one hour."""

from typing import Any

import numpy as np
import polars as pl

from flowlake.attacks.estates import Estate, Numbers, ipv4
from flowlake.attacks.recording import FIN, RST, SYN, SYN_ACK, talks

INTERNET = ipv4("198.19.0.0")
"""Where everybody on the internet is who means no harm, in 65,536 addresses."""

_HOUR = 3600


class Draw:
    """The random numbers of one kind in one hour: ``size`` conversations."""

    def __init__(self, random: np.random.Generator, estate: Estate, begins: int, size: int) -> None:
        self.random, self.estate, self.begins, self.size = random, estate, begins, size
        self.networks: Numbers = random.integers(0, len(estate.flow_logs), size)

    def at(self, role: str) -> Numbers:
        """One host of the role for each, in its network."""
        return self.estate.at(self.random, role, self.networks)

    def whole(self, low: int, high: int) -> Numbers:
        """Whole numbers, one for each."""
        return self.random.integers(low, high, self.size)

    def when(self, within: float = _HOUR) -> Any:
        """Moments within the hour, or its first so many seconds."""
        return self.begins + self.random.random(self.size) * within

    def lasting(self, seconds: float, spread: float = 1.0) -> Any:
        """Durations around so many seconds."""
        return self.random.lognormal(np.log(seconds), spread, self.size).clip(0.01, 1800)

    def ephemeral(self) -> Numbers:
        """Ports of clients, as Linux gives them."""
        return self.whole(32_768, 61_000)

    def pollers(self, many: int) -> tuple[Numbers, Any]:
        """Which of so many pollers, and when: each at regular times of its own."""
        each = np.arange(self.size)
        turn = each // many + each % many * 0.618 % 1
        return each % many, self.begins + turn * many / self.size * (_HOUR if self.size else 0)

    def outside(self, many: int, salt: int = 0) -> Numbers:
        """Addresses on the internet, the nth of which is there 1/n as often as the first."""
        rank = (many ** self.random.random(self.size)).astype(np.int64)
        return INTERNET + (rank * 40_503 + salt * 7_919) % 2**16

    def tcp(self, sent: float, received: float, spread: float = 1.6) -> dict[str, Any]:
        """A connection that opened and closed; medians of what was said, in bytes."""
        out = self.random.lognormal(np.log(sent), 0.8, self.size).astype(np.int64)
        back = self.random.lognormal(np.log(received), spread, self.size).clip(0, 4e9)
        back = back.astype(np.int64)
        packets = 4 + out // 1400 + back // 2900
        replies = 4 + back // 1400 + out // 2900
        reset = np.where(self.random.random(self.size) < 0.08, RST, 0)
        return {
            "packets": packets,
            "bytes": out + 52 * packets + 8,
            "reply_packets": replies,
            "reply_bytes": back + 52 * replies + 8,
            "flags": SYN | FIN | reset,
            "reply_flags": SYN_ACK | FIN,
        }

    def made(self, **columns: Any) -> pl.DataFrame:
        """The conversations, of columns as ``talks`` takes them."""
        return talks(self.size, **columns)
