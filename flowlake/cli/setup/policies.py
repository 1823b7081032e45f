"""Commands that print policies: `flowlake setup policy`, one for each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowlake.cli.options import OutputOption, note, say
from flowlake.errors import UsageError

if TYPE_CHECKING:
    from flowlake.setup.policies import Policy

app = typer.Typer(
    name="policy",
    help="Print an IAM policy with just the rights that are needed, as JSON.",
    epilog="Attach it with `aws iam put-role-policy --policy-document file://FILE`. Nothing here "
    "asks AWS for anything.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kms-key", metavar="ARN", help="The key of what is encrypted with KMS; may be repeated."
    ),
]
PartitionOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="aws, aws-cn, aws-us-gov, …: where the buckets are."),
]
AccountOption = Annotated[str, typer.Option(metavar="ID", help="The account.")]
AccountsOption = Annotated[
    list[str],
    typer.Option("--account", metavar="ID", help="Whose flow logs; may be repeated."),
]
RegionOption = Annotated[str, typer.Option(metavar="REGION", help="Where it is.")]
RegionsOption = Annotated[
    list[str],
    typer.Option("--region", metavar="REGION", help="Where they are recorded; may be repeated."),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Print who may take on the role, not what it may do.")
]
AlarmsOption = Annotated[
    str | None, typer.Option("--alarms", metavar="s3://…", help="The alarm rules, if in S3.")
]
TopicsOption = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="ARN", help="A topic that alarms name; may be repeated."),
]
SourcesOption = Annotated[
    list[str],
    typer.Option("--source", metavar="s3://…", help="Where flow logs are; may be repeated."),
]
SourceKeysOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ARN", help="The key of encrypted flow logs; may be repeated."),
]
TopicKeysOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ARN", help="The key of an encrypted topic; may be repeated."),
]
LakeKeysOption = Annotated[
    list[str] | None,
    typer.Option("--kms-key", metavar="ARN", help="The key of an encrypted lake; may be repeated."),
]
LakeUrlOption = Annotated[str, typer.Option("--lake", metavar="s3://…", help="The lake.")]


@app.command()
def reader(
    places: Annotated[
        list[str], typer.Argument(metavar="PLACE…", help="s3://BUCKET or s3://BUCKET/PREFIX.")
    ],
    kms_key: KeysOption = None,
    partition: PartitionOption = None,
    output: OutputOption = None,
) -> None:
    """List and read buckets: flow logs to convert them, a lake to ask it. Nothing is written.

    For a requester-pays bucket nothing more is needed on this side.

    Examples:
        flowlake setup policy reader s3://my-flow-logs/AWSLogs
        flowlake setup policy reader s3://my-lake/flows -o ask.json
    """
    from flowlake.setup import policies

    _print(policies.reader(places, kms_keys=kms_key or (), partition=partition), output)


@app.command()
def writer(
    lake: Annotated[str, typer.Argument(metavar="LAKE", help="The lake, s3://BUCKET/PREFIX.")],
    kms_key: KeysOption = None,
    partition: PartitionOption = None,
    output: OutputOption = None,
) -> None:
    """Keep a lake: convert into it, compact and vacuum it, run alarms on it, ask it.

    Examples:
        flowlake setup policy writer s3://my-lake/flows
    """
    from flowlake.setup import policies

    _print(policies.writer(lake, kms_keys=kms_key or (), partition=partition), output)


@app.command()
def alarms(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC…", help="ARNs of SNS topics.")],
    kms_key: KeysOption = None,
    output: OutputOption = None,
) -> None:
    """Publish findings to SNS topics. To run alarms takes `writer` on the lake, too.

    Examples:
        flowlake setup policy alarms arn:aws:sns:eu-west-1:123456789012:security
    """
    from flowlake.setup import policies

    _print(policies.alarms(topics, kms_keys=kms_key or ()), output)


@app.command("log-group")
def log_group(
    groups: Annotated[list[str], typer.Argument(metavar="GROUP…", help="Names of log groups.")],
    account: AccountOption,
    region: RegionOption,
    output: OutputOption = None,
) -> None:
    """Convert from CloudWatch Logs: what cloudwatch://GROUP as a source needs.

    Examples:
        flowlake setup policy log-group flows --account $ACCOUNT --region eu-west-1
    """
    from flowlake.setup import policies

    _print(policies.log_groups(groups, account=account, region=region), output)


@app.command()
def inventory(
    region: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="REGION", help="Only this region; may be repeated."),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Ask EC2 what interfaces are called. To keep the answer takes `writer` on the lake, too.

    Examples:
        flowlake setup policy inventory --region eu-west-1
    """
    from flowlake.setup import policies

    _print(policies.inventory(region or ()), output)


@app.command("lambda")
def function(
    name: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function's name.")],
    queue: Annotated[str, typer.Option(metavar="ARN", help="Its queue.")],
    source: SourcesOption,
    lake: LakeUrlOption,
    alarms_file: AlarmsOption = None,
    topic: TopicsOption = None,
    kms_key: LakeKeysOption = None,
    source_kms_key: SourceKeysOption = None,
    topic_kms_key: TopicKeysOption = None,
    trusted: TrustOption = False,
    output: OutputOption = None,
) -> None:
    """The role of the Lambda function: its queue, flow logs, lake, topics and log.

    Examples:
        flowlake setup policy lambda convert --queue $QUEUE --source $RAW --lake $LAKE
    """
    from flowlake.setup import roles

    policy = roles.function(
        name,
        queue=queue,
        sources=source,
        lake=lake,
        alarms_file=alarms_file,
        topics=topic or (),
        kms_keys=kms_key or (),
        source_kms_keys=source_kms_key or (),
        topic_kms_keys=topic_kms_key or (),
    )
    _print(roles.trust("lambda") if trusted else policy, output)


@app.command()
def task(
    source: SourcesOption,
    lake: LakeUrlOption,
    alarms_file: AlarmsOption = None,
    topic: TopicsOption = None,
    kms_key: LakeKeysOption = None,
    source_kms_key: SourceKeysOption = None,
    topic_kms_key: TopicKeysOption = None,
    partition: PartitionOption = None,
    trusted: TrustOption = False,
    account: Annotated[
        str | None, typer.Option(metavar="ID", help="With --trust: tasks of this account only.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """The role of a scheduled task, such as one of ECS: flow logs, lake and topics.

    On EC2 and elsewhere it is the same; another --trust is up to you there.

    Examples:
        flowlake setup policy task --source s3://my-flow-logs --lake s3://my-lake
        flowlake setup policy task --source $RAW --lake $LAKE --trust
    """
    from flowlake.setup import roles

    if account and not trusted:
        raise UsageError("--account says whose tasks --trust is for: add --trust.")
    policy = roles.task(
        sources=source,
        lake=lake,
        alarms_file=alarms_file,
        topics=topic or (),
        kms_keys=kms_key or (),
        source_kms_keys=source_kms_key or (),
        topic_kms_keys=topic_kms_key or (),
        partition=partition,
    )
    _print(roles.trust("task", account) if trusted else policy, output)


@app.command()
def setup(
    account: AccountOption,
    region: RegionsOption,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="PLACE", help="Where flow logs go: s3://… or cloudwatch://GROUP."),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ARN", help="The role that delivers to CloudWatch Logs.")
    ] = None,
    tag_fields: Annotated[
        bool, typer.Option("--tag-fields", help="Also flow logs with fields of tags.")
    ] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only for setup list and setup check.")
    ] = False,
    output: OutputOption = None,
) -> None:
    """Create, list, check and delete flow logs: what `flowlake setup` itself needs.

    Examples:
        flowlake setup policy setup --account $ACCOUNT --region eu-west-1 --to $RAW
        flowlake setup policy setup --account $ACCOUNT --region us-east-1 --read-only
    """
    from flowlake.setup import policies

    policy = policies.setup(
        account,
        region,
        destinations=to or (),
        role=role,
        tag_fields=tag_fields,
        read_only=read_only,
    )
    _print(policy, output)


@app.command()
def cloudwatch(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The log group's name.")],
    account: AccountOption,
    region: RegionOption,
    trusted: TrustOption = False,
    output: OutputOption = None,
) -> None:
    """The role that AWS takes on to deliver flow logs to CloudWatch Logs.

    Examples:
        flowlake setup policy cloudwatch flows --account $ACCOUNT --region eu-west-1
    """
    from flowlake.setup import log_delivery

    policy = log_delivery.cloudwatch(group, account=account, region=region)
    trust = log_delivery.cloudwatch_trust(account=account, regions=[region])
    _print(trust if trusted else policy, output)


@app.command()
def bucket(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="s3://BUCKET, or s3://BUCKET/PREFIX.")
    ],
    account: AccountsOption,
    region: RegionsOption,
    hive: Annotated[
        bool, typer.Option("--hive", help="Keys name their parts: aws-account-id=….")
    ] = False,
    output: OutputOption = None,
) -> None:
    """The policy of a bucket that AWS delivers flow logs to. It replaces the one that is there.

    Examples:
        flowlake setup policy bucket s3://raw --account $ACCOUNT --region eu-west-1
    """
    from flowlake.setup import log_delivery

    _print(log_delivery.bucket(place, accounts=account, regions=region, hive=hive), output)


@app.command("kms-key")
def kms_key(account: AccountsOption, region: RegionsOption, output: OutputOption = None) -> None:
    """The statement to add to the policy of the key that such a bucket is encrypted with.

    Examples:
        flowlake setup policy kms-key --account $ACCOUNT --region eu-west-1
    """
    from flowlake.setup import log_delivery

    _print(log_delivery.kms_key(accounts=account, regions=region), output)


def _print(policy: "Policy", output: Path | None) -> None:
    from flowlake.setup.policies import LONGEST, length

    if (characters := length(policy)) > LONGEST:
        note(
            f"The policy has {characters:,} characters, and a managed policy may have {LONGEST:,}: "
            "name fewer places at once, or a folder above them."
        )
    print_document(json.dumps(policy, indent=2, ensure_ascii=False), output)


def print_document(text: str, output: Path | None) -> None:
    """Print a document, or write it to a file.

    Raises:
        UsageError: when it cannot be written.
    """
    if output is None:
        say(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror}.") from error
