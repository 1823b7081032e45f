"""Who we are to AWS, and what its refusals mean: credentials that stay fresh, errors in words."""

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flowlake.errors import FlowLakeError, StorageError, UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach S3 beyond the environment: a named profile, and who pays for requests."""

    profile: str | None = None
    request_payer: bool = False


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What botocore found: region, endpoint, and a provider of fresh credentials."""

    region: str | None
    endpoint: str | None
    credentials: "Credentials"


_NO_REFRESH = "the AWS credentials cannot be refreshed"


class Credentials:
    """A credential provider for obstore that asks botocore, which refreshes what expires."""

    def __init__(self, session: Any) -> None:
        self._credentials = session.get_credentials()
        if self._credentials is None:
            raise StorageError(
                "No AWS credentials were found: set AWS_PROFILE or --profile, run "
                "`aws sso login`, or export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )

    def __call__(self) -> dict[str, Any]:
        """Key, secret and token, to be asked for again in five minutes."""
        try:
            frozen = self._credentials.get_frozen_credentials()
        except Exception as error:
            raise StorageError(f"{_NO_REFRESH}: {error}") from error
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=5),
        }


@functools.lru_cache(maxsize=8)
def aws_settings(access: Access) -> AwsSettings:
    """Ask botocore for region, endpoint and credentials, as the AWS CLI would.

    Raises:
        StorageError: when the profile does not exist or no credentials are found.
    """
    import botocore.configprovider
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=access.profile)
    try:
        endpoint = botocore.configprovider.ConfiguredEndpointProvider(
            session.full_config, session.get_scoped_config(), "s3"
        ).provide()
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        found = AwsSettings(region, endpoint or None, Credentials(session))
        where, by = endpoint or "AWS", session.get_credentials().method
        logger.info("S3 is %s, in region %s; credentials by %s", where, region or "unknown", by)
        return found
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(
            f"The AWS settings cannot be used: {error}; check --profile, AWS_PROFILE and the "
            "files in ~/.aws."
        ) from error


def client(
    service: str,
    region: str,
    access: Access = Access(),
    *,
    retries: str = "standard",
    attempts: int | None = None,
    connect_timeout: float = 5,
    read_timeout: float = 60,
) -> Any:
    """Botocore's client of a service, which finds the endpoint by itself, as the AWS CLI does.

    Args:
        service: as botocore names it: ``ec2``, ``logs``, ``sns``.
        region: where.
        access: AWS profile.
        retries: botocore's retry mode.
        attempts: how often a request is made at most; by default the mode's.
        connect_timeout: in seconds.
        read_timeout: in seconds.

    Raises:
        StorageError: when the profile does not exist or no credentials are found.
    """
    import botocore.config
    import botocore.session

    aws_settings(access)  # which says in words that there is no profile or no credentials
    session = botocore.session.Session(profile=access.profile)
    session.register_component("data_loader", _models())
    limit = {} if attempts is None else {"total_max_attempts": attempts}
    config = botocore.config.Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": retries, **limit},
    )
    return session.create_client(service, region_name=region, config=config)


@functools.cache
def _models() -> Any:
    """Botocore's descriptions of the services, read once: EC2's takes 0.1 s and more."""
    import botocore.session

    return botocore.session.Session().get_component("data_loader")


def wanted_regions(access: Access, regions: Sequence[str] = ()) -> list[str]:
    """The regions, each once; by default the profile's or the environment's.

    Raises:
        UsageError: when no region is known.
        StorageError: when AWS's settings cannot be used.
    """
    own = aws_settings(access).region
    wanted = list(dict.fromkeys(regions or ([own] if own else [])))
    if not wanted:
        raise UsageError("No region is known: write --region REGION, or set AWS_REGION.")
    return wanted


def account_of(region: str, access: Access = Access()) -> str:
    """Whose credentials these are: the account's id. AWS asks for no right to say so."""
    return str(client("sts", region, access).get_caller_identity()["Account"])


def tags_of(thing: Mapping[str, Any], place: str = "Tags") -> dict[str, str]:
    """The tags in one of EC2's answers, by key."""
    return {each["Key"]: each.get("Value", "") for each in thing.get(place, [])}


def cause_of(error: Exception, rights: str) -> str:
    """One clause on what a refusal by EC2 or its like means and what to do.

    Args:
        error: botocore's.
        rights: the IAM actions that were needed, in words.
    """
    answer = getattr(error, "response", {}).get("Error", {})
    code, said = answer.get("Code", ""), answer.get("Message", "")
    if re.search(r"UnauthorizedOperation|AccessDenied", code):
        return f"access is denied: these credentials need {rights}"
    if re.search(r"AuthFailure|UnrecognizedClient|InvalidClientTokenId|OptInRequired", code):
        return "the credentials are not accepted there: check AWS_PROFILE and the region"
    if re.search(r"RequestLimitExceeded|Throttl", code):
        return "AWS asks to slow down, and retries did not help: run again later"
    if re.search(r"Connect|Timeout|Endpoint", type(error).__name__):
        return "AWS cannot be reached: check the network, the region and AWS_ENDPOINT_URL"
    if said and "Expired" not in code:
        return f"{' '.join(said.split())[:300].rstrip('.')} ({code})"
    return explain(f"{type(error).__name__}: {error}")


def refused(what: str, error: Exception, rights: str) -> StorageError:
    """The error to raise for a refusal.

    Args:
        what: what was not done, ``The interfaces of eu-west-1 cannot be listed``.
        error: botocore's.
        rights: the IAM actions that were needed, in words.
    """
    return StorageError(f"{what}: {cause_of(error, rights)}.")


@contextlib.contextmanager
def refusals(what: str, rights: str) -> Iterator[None]:
    """Turn what AWS refuses within the context into ``refused``'s words; see there.

    Raises:
        StorageError: instead of botocore's errors, which it makes at run time.
    """
    try:
        yield
    except FlowLakeError:
        raise
    except Exception as error:
        raise refused(what, error, rights) from error


_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"KMS\.|kms:",
        "its encryption key is denied: allow kms:Decrypt (and kms:GenerateDataKey to write) on "
        "the bucket's KMS key for these credentials",
    ),
    (r"NoSuchBucket", "the bucket does not exist: check its name and AWS_ENDPOINT_URL"),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|301 Moved|IllegalLocationConstraint"
        r"|redirect without LOCATION",
        "the bucket is in another region: set AWS_REGION to the bucket's region "
        "(`aws s3api get-bucket-location` tells it)",
    ),
    (r"ExpiredToken|TokenRefreshRequired", "the credentials have expired: log in again"),
    (r"RequestTimeTooSkewed", "this machine's clock is wrong: set it"),
    (
        r"InvalidObjectState",
        "it is archived (S3 Glacier): restore it, or leave it out with --since",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|Unauthenticated",
        "the credentials are not accepted: check AWS_PROFILE, the access key and its secret",
    ),
    (
        r"AccessDenied|PermissionDenied|403 Forbidden|Forbidden",
        "access is denied: these credentials need s3:ListBucket on the bucket and s3:GetObject on "
        "its objects (s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload for a lake); "
        "`flowlake setup policy` prints these; objects written by another "
        "account must grant the bucket's owner access; a requester-pays bucket needs "
        "--request-payer",
    ),
    (r"PreconditionFailed|412 Precondition", "it changed while it was being read: run again"),
    (r"NoSuchKey|404 Not Found|not found", "it is not there (any more)"),
    (r"SlowDown|503 Service", "S3 asks to slow down, and retries did not help: run again later"),
    (
        r"Could not parse path",
        "a name FlowLake writes cannot have empty, '.' or '..' parts or control characters: "
        "choose another",
    ),
    (
        r"(?i)dns error|error sending request|connect|timed out",
        "S3 cannot be reached: check the network, AWS_REGION and AWS_ENDPOINT_URL",
    ),
)

_ANSWER = re.compile(r"<Code>(.*?)</Code>(?:\s*<Message>(.*?)</Message>)?", re.DOTALL)


def explain(text: str) -> str:
    """One clause on what an S3 error means and what to do, from its text."""
    if answer := _ANSWER.search(text):  # what S3 itself says: the rest may hold any key's name
        text = ": ".join(filter(None, answer.groups()))
    if refused := re.search(rf"{_NO_REFRESH}.*", text):
        return refused[0]
    for pattern, cause in _CAUSES:
        if re.search(pattern, text):
            return cause
    return " ".join(text.split())[:300].rstrip(".")
