"""What is in a stack, whichever language it is written in: its choices and its policies.

The policies are those of ``flowlake.setup.policies`` and its neighbours, made for names that nobody
has, which a template then replaces with its own way of naming a parameter or a resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flowlake.errors import UsageError
from flowlake.setup import log_delivery, policies, roles
from flowlake.setup.recording import Recording

Run = Literal["lambda", "schedule"]
FileFormat = Literal["text", "parquet"]
RUNS: tuple[Run, ...] = get_args(Run)
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

ACCOUNT, REGION = "999999999999", "eu-west-1"
RAW, LAKE, ALARMS = "flowlake-raw-bucket", "flowlake-lake-bucket", "flowlake-alarms.toml"
NAME, REPOSITORY = "flowlake-name", "flowlake-repository"
PARTITION = "arn:aws:"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}"
TASK_ROLE, EXECUTION_ROLE = (f"arn:aws:iam::{ACCOUNT}:role/{each}" for each in ("task", "pull"))
"""The names to be replaced."""

SOURCE, LAKE_URL = f"s3://{RAW}/AWSLogs", f"s3://{LAKE}/flows"
ALARMS_URL = f"s3://{LAKE}/{ALARMS}"
FUNCTION_LOG = f"/aws/lambda/{NAME}"
TASK_LOG = f"/flowlake/{NAME}"
LOG_DAYS, PARTS_DAYS, WAIT_DAYS, DEAD_DAYS = 30, 7, 4, 14
"""Days that logs, parts of objects that nobody finished, and messages are kept: those that wait,
and those that failed."""

FORMAT = " ".join(f"${{{name}}}" for name in Recording(f"s3://{RAW}").names("vpc"))
"""Every field of a VPC's flow log; those of tags need the tags' keys besides."""

MEMORY, TIMEOUT = 1_769, 300
VISIBILITY, RECEIVES = 6 * TIMEOUT, 5
BATCH, WINDOW = 100, 60
"""What ``docs/lambda.md`` says of queue and function."""

TASK_CPU, TASK_MEMORY = 1_024, 4_096
CONVERT = ("convert", SOURCE, "--lake", LAKE_URL, "--since", "3d")
COMPACT = ("compact", "--lake", LAKE_URL)
EVERY, DAILY = "rate(15 minutes)", "cron(30 6 * * ? *)"


@dataclass(frozen=True, slots=True)
class Stack:
    """What can be chosen of a template.

    Raises:
        UsageError: for a choice that there is not.
    """

    run: Run = "lambda"
    """``lambda``: as objects arrive; ``schedule``: every quarter of an hour, on ECS."""
    file_format: FileFormat = "text"
    """What AWS writes."""
    hive: bool = False
    hourly: bool = False

    def __post_init__(self) -> None:
        if self.run not in RUNS:
            raise UsageError(f"--run is one of {', '.join(RUNS)}, not {self.run!r}.")
        if self.file_format not in FILE_FORMATS:
            raise UsageError(
                f"--file-format is one of {', '.join(FILE_FORMATS)}, not {self.file_format!r}."
            )

    @property
    def destination_format(self) -> str:
        """The file format, as EC2 calls it."""
        return "parquet" if self.file_format == "parquet" else "plain-text"

    def policy(self, name: str) -> policies.Policy:
        """A policy of the stack, with the names to be replaced in it."""
        own = {"account": ACCOUNT, "region": REGION}
        by_name: Mapping[str, Any] = {
            "delivery": lambda: log_delivery.bucket(
                f"s3://{RAW}", accounts=[ACCOUNT], regions=[REGION], hive=self.hive
            ),
            "queue": lambda: log_delivery.queue(QUEUE, f"s3://{RAW}"),
            "function": lambda: roles.function(
                NAME,
                queue=QUEUE,
                sources=[SOURCE],
                lake=LAKE_URL,
                alarms_file=ALARMS_URL,
                topics=[TOPIC],
            ),
            "function trust": lambda: roles.trust("lambda"),
            "task": lambda: roles.task(
                sources=[SOURCE], lake=LAKE_URL, alarms_file=ALARMS_URL, topics=[TOPIC]
            ),
            "task trust": lambda: roles.trust("task", ACCOUNT),
            "execution": lambda: roles.execution(TASK_LOG, REPOSITORY, **own),
            "schedule": lambda: roles.schedule(NAME, NAME, [TASK_ROLE, EXECUTION_ROLE], **own),
            "schedule trust": lambda: roles.trust("schedule", ACCOUNT),
        }
        made: policies.Policy = by_name[name]()
        return made


def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """A document with other names in all its texts, the first of ``names`` first."""
    if isinstance(value, Mapping):
        return {each: replaced(inner, names) for each, inner in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(each, names) for each in value]
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value
