"""The small tables beside ``flows``: what numbers are called, and what a GB costs.

Saved SQL joins them by name, the Polars twins through `lookup`. Facts of one field's values are
in `flowlake.protocols`; those that only questions need are here.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl

from flowlake.protocols import PROTOCOLS, REJECT_REASONS, TRAFFIC_PATHS, describe_tcp_flags

_TCP, _UDP, _SCTP = 6, 17, 132

SERVICES: dict[str, tuple[int, ...]] = {
    "ftp-data": (20,), "ftp": (21,), "ssh": (22,), "telnet": (23,), "smtp": (25,),
    "whois": (43,), "http": (80,), "kerberos": (88,), "pop3": (110,), "sunrpc": (111,),
    "nntp": (119,), "ntp": (123,), "epmap": (135,), "netbios-ns": (137,), "netbios-dgm": (138,),
    "netbios-ssn": (139,), "imap": (143,), "snmp": (161,), "snmptrap": (162,), "bgp": (179,),
    "ldap": (389,), "https": (443,), "microsoft-ds": (445,), "kpasswd": (464,),
    "submissions": (465,), "isakmp": (500,), "syslog": (514,), "printer": (515,),
    "submission": (587,), "ipp": (631,), "ldaps": (636,), "domain": (53,), "domain-s": (853,),
    "bootps": (67,), "bootpc": (68,), "tftp": (69,), "dhcpv6-client": (546,),
    "dhcpv6-server": (547,), "rsync": (873,), "ftps": (990,), "imaps": (993,), "pop3s": (995,),
    "socks": (1080,), "openvpn": (1194,), "ms-sql-s": (1433,), "ms-sql-m": (1434,),
    "oracle": (1521,), "l2tp": (1701,), "pptp": (1723,), "mqtt": (1883,), "radius": (1812,),
    "nfs": (2049,), "zookeeper": (2181,), "docker": (2375,), "docker-s": (2376,),
    "etcd-client": (2379,), "etcd-server": (2380,), "ms-wbt-server": (3389,), "mysql": (3306,),
    "squid": (3128,), "stun": (3478,), "svn": (3690,), "ipsec-nat-t": (4500,), "vxlan": (4789,),
    "sip": (5060,), "sips": (5061,), "mdns": (5353,), "postgresql": (5432,), "kibana": (5601,),
    "amqps": (5671,), "amqp": (5672,), "rfb": (5900,), "wsman": (5985,), "wsmans": (5986,),
    "x11": (6000,), "geneve": (6081,), "redis": (6379,), "kube-apiserver": (6443,),
    "irc": (6667,), "yarn": (8088,), "http-alt": (8080,), "secure-mqtt": (8883,),
    "https-alt": (8443,), "kafka": (9092,), "prometheus": (9090,), "elasticsearch": (9200,),
    "elasticsearch-transport": (9300,), "memcached": (11211,), "kubelet": (10250,),
    "zabbix-agent": (10050,), "zabbix-trapper": (10051,), "mongodb": (27017,),
}  # fmt: skip
"""Service to its ports. IANA, "Service Name and Transport Protocol Port Number Registry"; names
that IANA does not have (docker, kubelet, yarn, …) are the products' own."""


class Price(NamedTuple):
    """What a billable path costs: list price in USD for each GB; None where it depends."""

    usd_per_gb: float | None
    assumption: str


PRICES_AS_OF = "2026-06"
"""The month whose list prices these are."""

PRICES: dict[str, Price] = {
    "internet": Price(
        0.09, "Out of us-east-1, the first 10 TB of a month; the free 100 GB are not taken off."
    ),
    "aws_over_internet": Price(
        None, "To public AWS addresses: free within the region, and no field says which it is."
    ),
    "nat_gateway": Price(
        0.045,
        "Processing, for what is sent to a NAT gateway and what it sends inside; no hours, and no "
        "crossing of zones on the way.",
    ),
    "inter_az": Price(0.02, "0.01 out of one zone and 0.01 into the other, both on this account."),
    "same_az": Price(0.0, "Private addresses within a zone."),
    "vpc_endpoint": Price(0.01, "Interface endpoint, the first PB of a month; no hours."),
    "gateway_endpoint": Price(0.0, "S3 and DynamoDB through a gateway endpoint."),
    "transit_gateway": Price(0.02, "Processing, for what is sent to it; no attachment hours."),
    "from_transit_gateway": Price(
        0.0, "What a transit gateway sends inside: the sender paid, and crossing zones is free."
    ),
    "peering": Price(0.02, "Between zones, as inter_az; within a zone it is same_az."),
    "inter_region_peering": Price(0.02, "Most pairs of regions in the United States."),
    "virtual_private_gateway": Price(None, "A VPN and Direct Connect have prices of their own."),
    "local_gateway": Price(None, "Through an Outpost: its contract decides."),
    "incoming": Price(None, "The sender's record carries the cost; ask count = 'egress'."),
    "unknown": Price(None, "No field says which way it went; needs names what would."),
}
"""Billable path to its price. AWS pages "Amazon EC2 On-Demand Pricing" (data transfer), "Amazon VPC
pricing", "AWS PrivateLink pricing", "AWS Transit Gateway pricing"; us-east-1, see PRICES_AS_OF."""

UNCAPTURED: dict[str, str] = {
    "dns": "Queries to the Amazon DNS server: 169.254.169.253, and base + 2 of a VPC's network.",
    "windows_licence": "Windows licence activation: 169.254.169.250 and 169.254.169.251.",
    "instance_metadata": "The instance metadata service: 169.254.169.254 and fd00:ec2::254.",
    "time_sync": "The Amazon Time Sync Service: 169.254.169.123 and fd00:ec2::123.",
    "dhcp": "DHCP: UDP ports 67 and 68, and 546 and 547 for IPv6.",
    "vpc_router": "The VPC router's reserved address: base + 1 of a subnet's network.",
    "endpoint_to_nlb": "Between an endpoint's interface and a Network Load Balancer's.",
}
"""Traffic that flow logs never hold. Amazon VPC User Guide, "Flow log limitations"."""


def _pairs(names: Mapping[int, str], key: str, value: str) -> pl.DataFrame:
    data = {key: list(names), value: list(names.values())}
    return pl.DataFrame(data, schema={key: pl.Int32, value: pl.String})


def _services() -> pl.DataFrame:
    rows = [
        (port, protocol, service)
        for service, ports in SERVICES.items()
        for port in ports
        for protocol in (_TCP, _UDP, _SCTP)
    ]
    schema = {"port": pl.Int32, "protocol": pl.Int32, "service": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("port", "protocol")


def _prices() -> pl.DataFrame:
    rows = [(path, *price, PRICES_AS_OF) for path, price in PRICES.items()]
    schema = {"path": pl.String, "usd_per_gb": pl.Float64, "assumption": pl.String}
    return pl.DataFrame(rows, schema={**schema, "as_of": pl.String}, orient="row")


TABLES: dict[str, Callable[[], pl.DataFrame]] = {
    "protocols": lambda: _pairs(PROTOCOLS, "protocol", "keyword"),
    "services": _services,
    "tcp_flags": lambda: _pairs(
        {mask: describe_tcp_flags(mask) for mask in range(256)}, "tcp_flags", "names"
    ),
    "traffic_paths": lambda: _pairs(TRAFFIC_PATHS, "traffic_path", "meaning"),
    "reject_reasons": lambda: pl.DataFrame(
        {"reject_reason": list(REJECT_REASONS), "meaning": list(REJECT_REASONS.values())}
    ),
    "prices": _prices,
    "uncaptured_traffic": lambda: (
        pl.DataFrame({"traffic": list(UNCAPTURED), "explanation": list(UNCAPTURED.values())})
        .with_row_index("place")
        .with_columns(pl.col("place").cast(pl.Int32))
    ),
}
"""Each table's name, and how it is made."""


@functools.cache
def lookup(table: str) -> pl.DataFrame:
    """One of `TABLES`, by its name."""
    return TABLES[table]()
