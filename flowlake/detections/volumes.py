"""Hours in which an interface has far more than ever: bytes to the outside, REJECT records."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from flowlake.addresses import in_networks, is_private, is_public
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter, in_sessions
from flowlake.detections.wording import amount, quoted

HOUR = timedelta(hours=1)

LAG = timedelta(hours=12)
"""The last hours are no past yet, so that what goes on for hours is not taken for usual."""

LEAST_HOURS = 24
"""Hours with records that an interface must have in its past; else nothing is said of it."""

SPREAD = 3 * 1.4826
"""How many MADs above the median is unusual: three standard deviations, of which the MAD of a
normal distribution is 1 / 1.4826 (Rousseeuw and Croux, 1993)."""

MOST_SPREAD = 3
"""However much the days differ, no more than so often the most of any past hour is usual. Ours."""

NEXT_TO_NOTHING = 0.01
"""A past of less than this part of the floor counts as that, so that a factor says something."""

_BY = ["interface_id", "session"]


def egress_volume(
    flows: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    days: int = 14,
    bytes: int = 100_000_000,  # noqa: A002
    factor: float = 3.0,
    outside: Sequence[str] = (),
) -> pl.DataFrame:
    """Find interfaces that send far more to the outside in an hour than in any before.

    The outside is every public address, and the networks of your own choice. A record is sent by
    the interface where ``flow_direction`` says ``egress``, or, in a format without it, where its
    source is private; refused records do not count. What several flow logs recorded at an interface
    counts once. Without ``flow_direction``, records between public addresses, of IPv6 above all,
    are not seen.

    What is usual is the most of any past hour, or, if that is more, the median of the past days'
    busiest hours and three robust standard deviations, by their logarithms, but not more than three
    times the most. So a backup each night
    is usual, and its hours hide a theft that is smaller. The past are the hours that the interface
    has records of, up to 12 hours before; with fewer than 24 of them, nothing is said.
    An incident are consecutive hours, with an hour between at most, of at least ``bytes`` each and
    more than is usual. ``peak`` is the largest factor over what is usual. ``who`` is the interface,
    ``whom`` the destination with most of the bytes.

    Args:
        flows: records with the lake's schema; hours are those of UTC.
        history: the records of the days before.
        days: how far the past goes back.
        bytes: less in an hour is never an incident.
        factor: how often what is usual makes an incident.
        outside: networks that are outside though private, such as a partner's.
    """
    own, out = is_private(pl.col("srcaddr")), is_public(pl.col("dstaddr"))
    if outside:
        own = own & ~in_networks(pl.col("srcaddr"), outside)
        out = out | in_networks(pl.col("dstaddr"), outside)
    sent = (
        out
        & pl.when(pl.col("flow_direction").is_not_null())
        .then(pl.col("flow_direction") == "egress")
        .otherwise(own)
        & pl.col("action").ne_missing("REJECT")
    ).fill_null(False)
    listed = f"[{', '.join(map(quoted, outside))}]::VARCHAR[]"
    condition = (
        f"(is_public(dstaddr, []) OR in_networks(dstaddr, {listed})) AND "
        "CASE WHEN flow_direction IS NOT NULL THEN flow_direction = 'egress' "
        f"ELSE is_private(srcaddr, []) AND NOT in_networks(srcaddr, {listed}) END "
        "AND action IS DISTINCT FROM 'REJECT'"
    )
    size = pl.when(sent).then("bytes").otherwise(0)
    surges = _surges(flows, history, size, days, bytes, factor)
    parts = _parts(flows, sent, surges)
    return _incidents(surges, parts, "bytes", condition)


def reject_surge(
    flows: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    days: int = 7,
    rejects: int = 100,
    factor: float = 3.0,
) -> pl.DataFrame:
    """Find interfaces that have far more REJECT records in an hour than in any before.

    What is usual, the past and an incident are those of `egress_volume`, with records for bytes.
    ``who`` is the interface, ``whom`` the address with most of the records, at their other end.

    Args:
        flows: records with the lake's schema; hours are those of UTC.
        history: the records of the days before.
        days: how far the past goes back.
        rejects: fewer records in an hour are never an incident.
        factor: how often what is usual makes an incident.
    """
    refused = (pl.col("action") == "REJECT").fill_null(False)
    surges = _surges(flows, history, refused.cast(pl.Int64), days, rejects, factor)
    parts = _parts(flows, refused, surges)
    return _incidents(surges, parts, "flows", "action = 'REJECT'")


def _start() -> pl.Expr:
    return pl.coalesce("start_time", "end_time")


def _surges(
    flows: pl.LazyFrame,
    history: pl.LazyFrame,
    value: pl.Expr,
    days: int,
    floor: float,
    factor: float,
) -> pl.DataFrame:
    """Sessions of hours above all that is usual: interface, first and last hour, the worst hour.

    ``value`` is what a record counts.
    """
    hourly = (
        pl.concat(
            records.filter(pl.col("interface_id").is_not_null(), _start().is_not_null()).select(
                "interface_id",
                "flow_log_id",
                hour=_start().dt.truncate("1h"),
                value=value,
                judged=pl.lit(judged),
            )
            for records, judged in ((flows, True), (history, False))
        )
        .group_by("interface_id", "flow_log_id", "hour")
        .agg(pl.col("value").sum(), pl.col("judged").any())
        .group_by("interface_id", "hour")
        .agg(pl.col("value").max(), pl.col("judged").any())
        .collect(engine="streaming")
        .sort("interface_id", "hour")
    )
    reach = timedelta(days=days)
    past = hourly.rolling(
        "hour", period=reach - LAG, offset=-reach, closed="both", group_by="interface_id"
    ).agg(most=pl.col("value").max(), hours=pl.len())
    above = hourly.join(past, on=["interface_id", "hour"]).filter(
        "judged",
        pl.col("value") >= floor,
        pl.col("hours") >= LEAST_HOURS,
        pl.col("value") > pl.col("most"),
    )
    busiest = (
        above.select("interface_id", "hour")
        .join(hourly.rename({"hour": "before"}), on="interface_id")
        .filter(pl.col("before").is_between(pl.col("hour") - reach, pl.col("hour") - LAG))
        .group_by("interface_id", "hour", pl.col("before").dt.date())
        .agg(pl.col("value").max().log1p())
        .with_columns(
            off=(pl.col("value") - pl.col("value").median().over("interface_id", "hour")).abs()
        )
        .group_by("interface_id", "hour")
        .agg(bound=(pl.col("value").median() + SPREAD * pl.col("off").median()).exp().round() - 1)
    )
    bound = pl.min_horizontal("bound", MOST_SPREAD * pl.col("most"))
    usual = pl.max_horizontal("most", bound, pl.lit(NEXT_TO_NOTHING * floor))
    events = (
        above.join(busiest, on=["interface_id", "hour"])
        .with_columns(usual=usual, first_seen="hour", last_seen=pl.col("hour") + HOUR)
        .with_columns(peak=pl.col("value") / pl.col("usual"))
        .filter(pl.col("peak") > 1)
    )
    return (
        in_sessions(events, ["interface_id"], GAP)
        .group_by(_BY)
        .agg(
            pl.col("hour").min().alias("first"),
            pl.col("hour").max().alias("last"),
            pl.col("value", "usual", "peak", "hours").sort_by("peak").last(),
            worst=pl.col("hour").sort_by("peak").last(),
        )
        .filter(pl.col("peak") >= factor)
        .sort("first", "interface_id")
    )


def _parts(flows: pl.LazyFrame, counted: pl.Expr, surges: pl.DataFrame) -> pl.DataFrame:
    """The records of each incident, by source, destination and port; bytes by one flow log."""
    hours = surges.select(
        *_BY, hour=pl.datetime_ranges("first", "last", interval="1h", time_zone="UTC")
    ).explode("hour", empty_as_null=True)
    ends = ["srcaddr", "dstaddr", "dstport"]
    return (
        flows.filter(pl.col("interface_id").is_in(surges["interface_id"].implode()), counted)
        .with_columns(hour=_start().dt.truncate("1h"))
        .join(hours.lazy(), on=["interface_id", "hour"])
        .group_by(*_BY, "hour", "flow_log_id", *ends)
        .agg(
            pl.col("packets", "bytes").sum(),
            flows=pl.len().cast(pl.Int64),
            first_seen=_start().min(),
            last_seen=pl.coalesce("end_time", "start_time").max(),
        )
        .group_by(*_BY, "hour", *ends)
        .agg(
            pl.col("packets", "bytes").max(),
            pl.col("flows").sum(),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
        )
        .group_by(*_BY, *ends)
        .agg(
            pl.col("packets", "bytes", "flows").sum(),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
        )
        .collect(engine="streaming")
    )


def _incidents(
    surges: pl.DataFrame, parts: pl.DataFrame, measure: str, condition: str
) -> pl.DataFrame:
    whole = parts.group_by(_BY).agg(
        pl.col("packets", "bytes", "flows").sum(),
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
    )
    answers = pl.when(is_private(pl.col("dstaddr")) & ~is_private(pl.col("srcaddr")))
    of = {
        "whom": answers.then("srcaddr").otherwise("dstaddr"),
        "address": answers.then("dstaddr").otherwise("srcaddr"),
        "port": pl.col("dstport"),
    }
    for name, value in of.items():
        most = (
            parts.group_by(*_BY, value.alias(name))
            .agg(pl.col(measure).sum().alias(f"of_{name}"))
            .sort(f"of_{name}", name, descending=[True, False])
            .group_by(_BY, maintain_order=True)
            .first()
        )
        whole = whole.join(most, on=_BY)
    found = surges.join(whole, on=_BY, maintain_order="left")
    described = _sent if measure == "bytes" else _refused
    rows = [
        {
            "subject": each["interface_id"],
            "who": each["interface_id"],
            **{name: each[name] for name in INCIDENTS if name in each},
            "counts": json.dumps(
                {
                    "hours": (each["last"] - each["first"]) // HOUR + 1,
                    "worst_hour": each["worst"].isoformat(),
                    "in_worst_hour": each["value"],
                    "usual": round(each["usual"]),
                    "past_hours": each["hours"],
                    "address": each["address"],
                    "port": each["port"],
                    "share_of_whom": round(each["of_whom"] / max(1, each[measure]), 3),
                }
            ),
            "why": described(each),
            "condition": f"interface_id = {quoted(each['interface_id'])} AND {condition}",
        }
        for each in found.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=INCIDENTS)


def _sent(each: dict[str, Any]) -> str:
    return (
        f"{each['interface_id']} ({each['address']}) sent {amount(each['value'])} to the outside "
        f"in the hour from {each['worst']:%H:%M} UTC, {_times(each)}; "
        f"{each['of_whom'] / max(1, each['bytes']):.0%} of it all went to {each['whom']}."
    )


def _refused(each: dict[str, Any]) -> str:
    return (
        f"{each['interface_id']} ({each['address']}) had {each['value']:,} REJECT records in the "
        f"hour from {each['worst']:%H:%M} UTC, {_times(each)}; "
        f"{each['of_whom'] / each['flows']:.0%} of them all are with {each['whom']}."
    )


def _times(each: dict[str, Any]) -> str:
    if each["usual"] < each["value"] * NEXT_TO_NOTHING:
        return "and next to nothing in the past"
    return f"{each['peak']:,.1f} times what was usual"


_DAYS = "how many days the past has"

EGRESS_VOLUME = Detection(
    kind="egress_volume",
    title="Much sent to the outside",
    about=(
        "An interface sends far more to public addresses in an hour than in any of its past hours. "
        "An incident are consecutive hours of an interface."
    ),
    source=(
        "Block maxima, median and MAD of their logarithms (Rousseeuw and Croux, 1993); the kind of "
        "GuardDuty's Behavior:EC2/TrafficVolumeUnusual, whose thresholds are not published."
    ),
    find=egress_volume,
    parameters=(
        Parameter("days", "integer", _DAYS, 14),
        Parameter("bytes", "integer", "the least in an hour", 100_000_000),
        Parameter("factor", "number", "how often what is usual", 3.0),
        Parameter("outside", "networks", "private networks that are outside too", ()),
    ),
    severity="high",
    threshold="factor",
    learns=True,
)
"""Far more bytes to the outside than ever."""

REJECT_SURGE = Detection(
    kind="reject_surge",
    title="Many refused",
    about=(
        "An interface has far more REJECT records in an hour than in any of its past hours. "
        "An incident are consecutive hours of an interface."
    ),
    source="Block maxima, median and MAD of their logarithms (Rousseeuw and Croux, 1993).",
    find=reject_surge,
    parameters=(
        Parameter("days", "integer", _DAYS, 7),
        Parameter("rejects", "integer", "the fewest in an hour", 100),
        Parameter("factor", "number", "how often what is usual", 3.0),
    ),
    severity="medium",
    threshold="factor",
    learns=True,
)
"""Far more REJECT records than ever."""
