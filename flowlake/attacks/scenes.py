"""Where attacks are planted, and what one consists of."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flowlake.attacks.estates import HOSTS, PRIVATE, ROLES, Estate, Numbers, dotted, ipv4
from flowlake.attacks.radiation import POPULAR
from flowlake.attacks.recording import Silence

_OUTSIDERS = ipv4("203.0.113.0")
_UNRELATED = ipv4("198.18.240.0")
_TOP_PORTS = np.array(list(dict.fromkeys((*POPULAR.tolist(), *range(1, 1100), *range(5000, 5100)))))
KEPT_SILENT = {"web": 7, "app": 23}
"""Hosts that fall silent, by role: no part of any attack."""


class Planted(NamedTuple):
    """One attack: its label, and the conversations it consists of."""

    kind: str
    who: str | None
    whom: str | None
    note: str
    talks: pl.DataFrame
    silence: Silence | None = None


class Scene:
    """Where attacks are planted: their random numbers, and addresses nobody else has."""

    def __init__(self, random: np.random.Generator, estate: Estate, begins: int, ends: int) -> None:
        self.random, self.estate, self.begins, self.ends = random, estate, begins, ends
        self.seconds = ends - begins
        self._outsiders = iter(random.permutation(np.arange(1, 255)).tolist())
        self._unrelated = iter((_UNRELATED + random.permutation(4096)).tolist())

    def outsider(self) -> int:
        """An address on the internet that does nothing else."""
        return _OUTSIDERS + int(next(self._outsiders))

    def unrelated(self, count: int) -> Numbers:
        """Addresses on the internet that have nothing in common, and do nothing else."""
        return np.array([next(self._unrelated) for _ in range(count)])

    def host(self, *roles: str, near: int | None = None) -> int:
        """One of our hosts, if asked for in the same network as another."""
        choices = np.concatenate([self.estate.all_of(role) for role in roles])
        choices = choices[~np.isin(choices % HOSTS, list(KEPT_SILENT.values()))]
        if near is not None:
            choices = choices[(choices // HOSTS == near // HOSTS) & (choices != near)]
        return int(self.random.choice(choices))

    def neighbours(self, at: int) -> Numbers:
        """Every host of the same network."""
        hosts = np.arange(HOSTS) + at // HOSTS * HOSTS
        return np.asarray(hosts[self.estate.there[hosts]])

    def way_out(self, at: int) -> int:
        """The NAT gateway that a host goes through, or -1 if it has a public address."""
        return at // HOSTS * HOSTS + ROLES["nat"][0] if at % HOSTS in PRIVATE else -1

    def by_way_of(self, at: int) -> str:
        """What to add to a note where the NAT gateway's own records show an attack, too."""
        gateway = self.way_out(at)
        return f"; the NAT gateway {self.name(gateway)} records it, too" if gateway >= 0 else ""

    def name(self, at: int) -> str:
        """An interface's address."""
        return dotted(self.estate.address[at])

    def moments(self, count: int, lasting: float) -> Any:
        """Times of events within about so many seconds, somewhere in all the time there is."""
        lasting = min(lasting, self.seconds * 0.85)
        room = self.seconds - lasting
        first = self.begins + room * (0.05 + 0.9 * self.random.random())
        pace = self.random.lognormal(0, 0.5, count).cumsum()
        return first + (pace - pace[0]) / max(pace[-1] - pace[0], 1e-9) * lasting

    def ports(self, which: str, count: int) -> Numbers:
        """Ports to try, in any order: the ``top`` ones, or ``random`` ones."""
        if which == "random":
            return self.random.choice(np.arange(1, 65_536), count, replace=False)
        return self.random.permutation(_TOP_PORTS[:count])

    def ephemeral(self, count: int) -> Numbers:
        """Ports of clients."""
        return self.random.integers(32_768, 61_000, count)
