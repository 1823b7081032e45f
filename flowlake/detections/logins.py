"""Passwords being guessed: many short, like connections to the port of a login."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from flowlake.detections.connections import TCP, connections
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter, in_sessions
from flowlake.detections.wording import NAMED, quoted, span, together
from flowlake.scopes import EVERYBODY, NOBODY, Members

LONGEST = timedelta(seconds=240)
"""A connection that logs nobody in: OpenSSH ends it after 120 seconds (sshd_config,
LoginGraceTime), and either end of a record may be 60 seconds off (AWS guide)."""

LEAST_PACKETS = 5
"""A guess takes more than to open and close a connection, as health checks do."""

LEAST_PACKETS_OF_KEYS = 8
"""Where keys are exchanged before the password. SSHCure counts 11 packets of the client at least
(constants.pm, MINIMAL_SSH_AUTH_PPF), three of which are acknowledgements that may be left out. What
only reads the banner, such as check_ssh, needs 5 to 7."""

EXCHANGE_KEYS = (22, 3389)

MOST_REPLY = 6_000
"""Bytes back, headers included. Bro 2 took 4,000 bytes of data from an SSH server for a login that
succeeded (ssh/main.bro, authentication_data_size); the rest is for some 35 headers."""

MOST_REPLY_OF = {3389: 64_000}
"""An RDP server without NLA draws its screen first. No bound is published; this one is ours."""

MOST_SENT = 8_000
"""Bytes from the client, who sends keys and a password, but no files. Ours."""

ALIKE = 0.3
"""How far a guess is from the median of the source's on a target, at most, in bytes back: guessing
is flat traffic (Jonker and others, Flow-based SSH Dictionary Attack Detection, 2014)."""

SHARE = 0.5
"""At least so many of the source's logins there are guesses; else it works there too."""


def brute_force(
    flows: pl.LazyFrame,
    *,
    ports: Sequence[int] = (22, 3389),
    attempts: int = 30,
    window: timedelta = timedelta(minutes=30),
    sources: Members = EVERYBODY,
    targets: Members = EVERYBODY,
    ignore: Members = NOBODY,
) -> pl.DataFrame:
    """Find sources that guess passwords, of one target or of many.

    A flow log does not say whether a login failed. A guess is a connection of TCP that was let
    through, is over within ``LONGEST``, has as many packets as a login takes, few bytes each way
    (``MOST_SENT``, ``MOST_REPLY``), and about as many back as the source's others on that target.
    What the log has of one direction only is judged by that one. An incident is a source on a port
    until it pauses for an hour, if at least half of its logins there are guesses. ``peak`` is
    the most guesses within a window, on all targets together. ``whom`` is the target, or the
    smallest network with all of them. The evidence is every record of the source on that port
    which was not refused.

    A tool that logs in to do next to nothing, every few seconds, looks the same: ``ignore`` it.
    Guesses shared out among many sources, each below ``attempts``, are not found.

    Args:
        flows: records with the lake's schema.
        ports: the ports of logins; by default SSH and RDP.
        attempts: guesses within the window that make an incident.
        window: how long a guess is remembered.
        sources: who is looked at.
        targets: whose logins are looked at.
        ignore: sources that may do it.
    """
    source, target = pl.coalesce("pkt_srcaddr", "srcaddr"), pl.coalesce("pkt_dstaddr", "dstaddr")
    forth, back = pl.col("dstport").is_in(list(ports)), pl.col("srcport").is_in(list(ports))
    let_through = pl.col("action").ne_missing("REJECT")
    there = flows.filter(pl.col("protocol") == TCP, let_through, forth | back)
    busy = (
        there.group_by(pl.when(forth).then(source).otherwise(target).alias("source"))
        .agg(pl.len())
        .filter(pl.col("len") >= attempts)
        .collect(engine="streaming")["source"]
        .implode()
    )
    marks = {"watched": sources, "target": targets, "ignored": ignore}
    mine = (forth & source.is_in(busy)) | (back & target.is_in(busy))
    tried = connections(there.filter(mine), marks, idle=LONGEST).filter(
        pl.col("server_port").is_in(list(ports)),
        "client_watched",
        "server_target",
        ~pl.col("client_ignored"),
    )
    return _incidents(tried.collect(), attempts, window)


def _incidents(tried: pl.DataFrame, attempts: int, window: timedelta) -> pl.DataFrame:
    by = ["client", "server_port"]
    got_so_far = pl.col("outcome").is_in(["answered", "unknown"]) & _enough_for_a_login()
    judged = in_sessions(
        tried.with_columns(login=got_so_far, guess=got_so_far & _no_more_than_a_login()), by, GAP
    )
    size = pl.when(pl.col("reply_packets") > 0).then("reply_bytes").otherwise("bytes")
    usual = size.filter("guess").median().over(*by, "session", "server")
    judged = judged.with_columns(guess=pl.col("guess") & ((size - usual).abs() <= ALIKE * usual))
    guesses = judged.filter("guess").sort("first_seen")
    peaks = (
        guesses.rolling("first_seen", period=window, group_by=[*by, "session"])
        .agg(within=pl.len())
        .group_by(*by, "session")
        .agg(peak=pl.col("within").max().cast(pl.Float64))
    )
    sessions = (
        judged.group_by(*by, "session")
        .agg(
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            pl.col("flows").sum(),
            packets=(pl.col("packets") + pl.col("reply_packets")).sum(),
            bytes=(pl.col("bytes") + pl.col("reply_bytes")).sum(),
            guesses=pl.col("guess").sum(),
            logins=pl.col("login").sum(),
            targets=pl.col("server").filter("guess").unique().sort(),
            took=pl.col("last_seen").filter("guess").max()
            - pl.col("first_seen").filter("guess").min(),
        )
        .join(peaks, on=[*by, "session"])
        .filter(pl.col("peak") >= attempts, pl.col("guesses") >= SHARE * pl.col("logins"))
        .sort("first_seen", *by)
    )
    return pl.DataFrame(list(_described(sessions)), schema=INCIDENTS)


def _enough_for_a_login() -> pl.Expr:
    """Whether it may have come to a password; a direction without records is not judged."""
    exchanges_keys = pl.col("server_port").is_in(EXCHANGE_KEYS)
    least = pl.when(exchanges_keys).then(LEAST_PACKETS_OF_KEYS).otherwise(LEAST_PACKETS)
    sent, back = pl.col("packets"), pl.col("reply_packets")
    return ((sent == 0) | (sent >= least)) & ((back == 0) | (back >= least)) & (sent + back > 0)


def _no_more_than_a_login() -> pl.Expr:
    most = pl.col("server_port").replace_strict(
        MOST_REPLY_OF, default=MOST_REPLY, return_dtype=pl.Int64
    )
    return (
        (pl.col("bytes") <= MOST_SENT)
        & (pl.col("reply_bytes") <= most)
        & (pl.col("last_seen") - pl.col("first_seen") <= LONGEST)
    )


def _described(sessions: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for each in sessions.iter_rows(named=True):
        who, port, targets = each["client"], each["server_port"], each["targets"]
        source, at = quoted(who), "coalesce(pkt_{0}addr, {0}addr) = {1} AND {2}port = {3}"
        there = (
            f"{targets[0]}:{port}" if len(targets) == 1 else f"port {port} of {len(targets)} hosts"
        )
        yield {
            "subject": f"{who} on port {port}",
            "who": who,
            "whom": together(targets),
            **{name: each[name] for name in ("first_seen", "last_seen", "flows")},
            **{name: each[name] for name in ("packets", "bytes", "peak")},
            "counts": json.dumps(
                {
                    "guesses": each["guesses"],
                    "logins": each["logins"],
                    "port": port,
                    "targets": len(targets),
                    "target_sample": targets[:NAMED],
                }
            ),
            "why": (
                f"{who} opened {each['guesses']:,} short, like connections to {there} in "
                f"{span(each['took'])}, as guessing passwords does."
            ),
            "condition": (
                f"protocol = {TCP} AND action IS DISTINCT FROM 'REJECT' AND "
                f"(({at.format('src', source, 'dst', port)}) OR "
                f"({at.format('dst', source, 'src', port)}))"
            ),
        }


BRUTE_FORCE = Detection(
    kind="brute_force",
    title="Passwords guessed",
    about=(
        "A source opens many short, like connections to a login, SSH or RDP, and none of them "
        "does what a login that succeeds would. An incident is a source on a port."
    ),
    source=(
        "Zeek, detect-bruteforcing.zeek: 30 guesses in 30 minutes. Bytes: Bro 2, ssh/main.bro, "
        "4,000 of data. Packets, time: SSHCure (Hellemons and others, 2012), constants.pm."
    ),
    find=brute_force,
    parameters=(
        Parameter("ports", "ports", "ports of logins", (22, 3389)),
        Parameter("attempts", "integer", "guesses within the window", 30),
        Parameter("window", "duration", "how long a guess counts", timedelta(minutes=30)),
        Parameter("sources", "scope", "who is looked at", EVERYBODY),
        Parameter("targets", "scope", "whose logins are looked at", EVERYBODY),
        Parameter("ignore", "scope", "sources that may do it", NOBODY),
    ),
    severity="high",
    threshold="attempts",
    window="window",
)
"""Many guesses of a password."""
