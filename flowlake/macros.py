"""What saved SQL and your own may call besides DuckDB's functions, as DuckDB macros.

Each has a Polars expression that says the same: those on addresses in `flowlake.addresses`,
``counted`` in `flowlake.analyses`.
"""

from typing import TYPE_CHECKING

from flowlake.addresses import MAPPED, MAPPED_END, PRIVATE, network

if TYPE_CHECKING:
    import duckdb

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUPS = r"[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*"
_BOTH_HALVES = " + ".join(
    f"('0x' || substr(hex, {start}, 16))::UBIGINT::UHUGEINT * {2**shift}::UHUGEINT"
    for start, shift in ((1, 64), (17, 0))
)
_PRIVATE_RANGES = " OR ".join(
    f"asked.number BETWEEN {first}::UHUGEINT AND {last}::UHUGEINT"
    for first, last in map(network, PRIVATE)
)

MACROS: dict[str, str] = {
    "ipv6_groups(side)": "CASE WHEN side = '' THEN []::VARCHAR[] ELSE string_split(side, ':') END",
    "ipv6_hex(side)": """
        array_to_string(list_transform(ipv6_groups(side), lambda part: lpad(part, 4, '0')), '')""",
    "ipv6_number(address)": f"""
        CASE WHEN regexp_full_match(address, '({_GROUPS})?(::({_GROUPS})?)?')
              AND CASE WHEN contains(address, '::')
                       THEN len(ipv6_groups(split_part(address, '::', 1)))
                          + len(ipv6_groups(split_part(address, '::', 2))) <= 7
                       ELSE len(string_split(address, ':')) = 8 END
        THEN list_transform([
            ipv6_hex(split_part(address, '::', 1))
            || repeat('0000', 8 - len(ipv6_groups(split_part(address, '::', 1)))
                                - len(ipv6_groups(split_part(address, '::', 2))))
            || ipv6_hex(split_part(address, '::', 2))],
            lambda hex: {_BOTH_HALVES})[1]
        END""",
    "address_number(address)": f"""
        CASE WHEN regexp_full_match(address, '({_OCTET}\\.){{3}}{_OCTET}')
             THEN ({MAPPED}
                + split_part(address, '.', 1)::BIGINT * 16777216
                + split_part(address, '.', 2)::BIGINT * 65536
                + split_part(address, '.', 3)::BIGINT * 256
                + split_part(address, '.', 4)::BIGINT)::UHUGEINT
             WHEN contains(address, ':') THEN ipv6_number(address) END""",
    "not_a_network(cidr)": """error(cidr
        || ' is not a network: write 10.0.0.0/8, 2001:db8::/32 or an address.')""",
    "network_hosts(cidr)": """
        CASE WHEN NOT contains(cidr, '/') THEN 0::UHUGEINT
             WHEN TRY_CAST(substr(cidr, strpos(cidr, '/') + 1) AS UTINYINT)
                  <= CASE WHEN contains(cidr, ':') THEN 128 ELSE 32 END
             THEN (170141183460469231731687303715884105727::UHUGEINT * 2 + 1)
                  >> (split_part(cidr, '/', 2)::UTINYINT
                      + CASE WHEN contains(cidr, ':') THEN 0 ELSE 96 END)::UHUGEINT
             ELSE not_a_network(cidr)::UHUGEINT END""",
    "network_first(cidr)": """
        coalesce(address_number(split_part(trim(cidr), '/', 1)), not_a_network(cidr)::UHUGEINT)
        & ~network_hosts(trim(cidr))""",
    "network_last(cidr)": "network_first(cidr) | network_hosts(trim(cidr))",
    "networks(cidrs)": """
        (SELECT coalesce(list({'first': network_first(cidr), 'last': network_last(cidr)}), [])
         FROM unnest(cidrs) AS listed (cidr))""",
    "within(number, ranges)": f"""
        coalesce(list_bool_or(list_transform(ranges,
            lambda range: number BETWEEN range.first AND range.last
                AND (range.first >= {MAPPED}::UHUGEINT
                     OR number NOT BETWEEN {MAPPED}::UHUGEINT AND {MAPPED_END}::UHUGEINT))),
            false)""",
    "in_networks(address, cidrs)": """
        list_transform([{'number': address_number(address), 'ranges': networks(cidrs)}],
            lambda asked: CASE WHEN asked.number IS NOT NULL
                THEN within(asked.number, asked.ranges) END)[1]""",
    "is_private(address, internal)": f"""
        list_transform([{{'number': address_number(address), 'ranges': networks(internal)}}],
            lambda asked: CASE WHEN asked.number IS NOT NULL
                THEN {_PRIVATE_RANGES} OR within(asked.number, asked.ranges) END)[1]""",
    "is_public(address, internal)": "NOT is_private(address, internal)",
    "counted(count, flow_direction, interface_id)": """
        CASE WHEN count = 'records' THEN true
             WHEN count = 'egress' THEN flow_direction = 'egress'
             WHEN starts_with(count, 'eni-') THEN interface_id = count
             ELSE error('count is records, egress or the id of an interface, not ' || count)
                  ::BOOLEAN END""",
}
"""Each macro's head and its body, in the order in which they build on each other."""


def register_macros(connection: "duckdb.DuckDBPyConnection", sql: str | None = None) -> None:
    """Make the macros on a connection; in a database file they stay.

    Given the SQL that is to run, only those it names, and those that these build on.
    """
    wanted = []
    text = sql
    for head, body in reversed(MACROS.items()):
        if text is None or head.partition("(")[0] in text:
            wanted.append(f"CREATE OR REPLACE MACRO {head} AS ({body});")
            text = None if text is None else text + body
    if wanted:
        connection.execute("\n".join(reversed(wanted)))
