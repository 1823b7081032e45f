"""The command that makes flow logs: a sample bucket, or a labelled corpus of attacks."""

from pathlib import Path
from typing import Annotated

import typer

from flowlake.cli.completing import SHAPES, one_of
from flowlake.cli.options import PayerOption, ProfileOption, access, note, write
from flowlake.errors import UsageError

_WHOLE = SHAPES[:4]


def sample(
    target: Annotated[str, typer.Argument(metavar="DIR|s3://…", help="Where to put the bucket.")],
    shape: Annotated[
        str,
        typer.Option(
            metavar="SHAPE",
            help="text, hive, parquet, hive-parquet, transit-gateway, export, subscription or "
            "messages; the first four with --attacks.",
            autocompletion=one_of(*SHAPES),
        ),
    ] = "text",
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Everyday traffic with attacks in it, and labels.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to put the labels, as CSV [default: DIR-labels.csv]."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.")] = 7,
    hours: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="How many hours it covers [default: 4; 24 with --attacks]."
        ),
    ] = None,
    records: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Records in each object [default: 500; 900 with --attacks]."
        ),
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Make a seeded sample bucket, laid out as AWS does.

    With --attacks: traffic of four networks, with scans, sweeps, logins, beacons, uploads and
    silences planted in it; a file of labels says what, who, whom and when.

    Examples:
        flowlake sample sample-bucket
        flowlake sample parquet-bucket --shape hive-parquet --hours 24
        flowlake sample attacked --attacks
    """
    from flowlake.rendering import size
    from flowlake.shapes import write_shape
    from flowlake.storage import canonical, open_storage

    if labels is not None and not attacks:
        raise UsageError("--labels says where the labels of --attacks go: add --attacks.")
    place = canonical(target)
    storage, prefix = open_storage(place, access(profile, request_payer)), f"{place}/"
    if attacks:
        if shape not in _WHOLE:
            raise UsageError(f"With --attacks, --shape is one of {', '.join(_WHOLE)}.")
        from flowlake.attacks import AttackKnobs, attack_tables
        from flowlake.attacks import labels as labels_of
        from flowlake.rendering import Format
        from flowlake.samples import write_objects
        from flowlake.shapes import SHAPES

        knobs = AttackKnobs(seed=seed, hours=hours or 24, records_per_object=records or 900)
        beside = labels or Path(_beside(place))
        made = write_objects(storage, prefix, SHAPES[shape](attack_tables(**knobs)))
        found = labels_of(**knobs)
        write(found, Format.csv, beside)
        note(f"{found.height:,} labels: {beside}")
    else:
        made = write_shape(
            storage,
            shape,
            prefix=prefix,
            seed=seed,
            hours=hours or 4,
            records_per_object=records or 500,
        )
    note(f"{made.objects:,} objects with {made.records:,} records, {size(made.bytes)}: {place}")


def _beside(place: str) -> str:
    """Where labels go: beside a folder; for a bucket here, as it holds flow logs and no more."""
    return (place.rpartition("/")[2] if place.startswith("s3://") else place) + "-labels.csv"
