"""The networks whose traffic is recorded: interfaces, what they are for, and their flow logs.

They are those of ``flowlake.samples``: one for each account and region, each with one flow log of
one format. Each flow log has one maximum aggregation interval, 600 or 60 seconds. A host is a
number within its network; ``at`` is the number of an interface among all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flowlake.samples import network, stable_name

Numbers = npt.NDArray[np.int64]

HOSTS = 64
"""Numbers of a network's hosts; those of ``ROLES`` have an interface."""

ROLES: dict[str, tuple[int, ...]] = {
    "balancer": (0, 1),
    "web": (2, 3, 4, 5, 6, 7),
    "app": (16, 17, 18, 19, 20, 21, 22, 23),
    "monitor": (24,),
    "backup": (25,),
    "builder": (26,),
    "scanner": (27,),
    "database": (44, 45),
    "resolver": (52,),
    "bastion": (53,),
    "nat": (54,),
    "phone": (55,),
    "legacy": (56, 57, 58, 59, 60, 61, 62, 63),
}
PUBLIC = tuple(
    host for role in ("balancer", "bastion", "nat", "phone", "legacy") for host in ROLES[role]
)
"""Hosts with a public address. A flow log has their private one for it (AWS guide)."""
PRIVATE = tuple(sorted(host for hosts in ROLES.values() for host in hosts if host not in PUBLIC))

INTERVALS = (600, 60, 60, 600)
"""Maximum aggregation intervals, seconds, dealt to the flow logs in turn."""


class FlowLog(NamedTuple):
    """One flow log: whose it is, its id, and its format."""

    account: str
    region: str
    flow_log_id: str
    header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estate:
    """All networks together; arrays have an item for each interface, by ``at``.

    ``address`` is the private IPv4 address as a number; ``interval`` the seconds of an aggregation
    interval, whose borders lie ``phase`` seconds after multiples of it; ``there`` says which
    interfaces there are.
    """

    flow_logs: tuple[FlowLog, ...]
    interfaces: pl.DataFrame
    address: Numbers
    interval: Numbers
    phase: Numbers
    there: npt.NDArray[np.bool_]

    def at(self, random: np.random.Generator, role: str, networks: Numbers) -> Numbers:
        """Draw a host of the role in each of the networks."""
        return np.asarray(networks * HOSTS + random.choice(ROLES[role], len(networks)))

    def all_of(self, role: str) -> Numbers:
        """Every interface of a role."""
        return self.hosts(ROLES[role])

    def hosts(self, numbers: Sequence[int]) -> Numbers:
        """Every interface whose host has one of the numbers in its network."""
        first = np.arange(len(self.flow_logs))[:, np.newaxis] * HOSTS
        return np.asarray(first + np.array(numbers)).ravel()


def estate(
    accounts: Sequence[str], regions: Sequence[str], formats: Sequence[Sequence[str]]
) -> Estate:
    """Lay out the networks of accounts and regions; formats are dealt to them in turn."""
    flow_logs, interfaces, addresses = [], [], []
    for number, (account, region) in enumerate(product(accounts, regions)):
        header = tuple(formats[number % len(formats)])
        name = "fl-0" + stable_name("attacks", account, region, *header)
        flow_logs.append(FlowLog(account, region, name, header))
        frame, book = network(account, region, number % 16)
        interfaces.append(frame)
        addresses += [ipv4(address) for address in book["address"][:HOSTS]]
    every = np.arange(len(addresses))
    interval = np.array(INTERVALS)[every // HOSTS % len(INTERVALS)]
    return Estate(
        flow_logs=tuple(flow_logs),
        interfaces=pl.concat(interfaces),
        address=np.array(addresses),
        interval=interval,
        phase=every * 37 % interval,
        there=np.isin(every % HOSTS, PUBLIC + PRIVATE),
    )


def ipv4(text: str) -> int:
    """An IPv4 address as a number."""
    a, b, c, d = map(int, text.split("."))
    return (a << 24) + (b << 16) + (c << 8) + d


def as_text(number: pl.Expr) -> pl.Expr:
    """Numbers as IPv4 addresses in text."""
    return pl.concat_str([number // 2**shift % 256 for shift in (24, 16, 8, 0)], separator=".")


def dotted(number: Any) -> str:
    """One number as an IPv4 address in text."""
    return ".".join(str(int(number) >> shift & 255) for shift in (24, 16, 8, 0))
