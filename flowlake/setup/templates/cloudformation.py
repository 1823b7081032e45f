"""The stack as a CloudFormation template, in YAML."""

import json
import re
from collections.abc import Mapping
from typing import Any

import flowlake.setup.templates.stack as names
from flowlake.setup.templates.stack import Stack, replaced

_NAMES = {
    names.TOPIC: "${Topic}",
    names.QUEUE: "${Queue.Arn}",
    names.TASK_ROLE: "${TaskRole.Arn}",
    names.EXECUTION_ROLE: "${ExecutionRole.Arn}",
    names.PARTITION: "arn:${AWS::Partition}:",
    names.ACCOUNT: "${AWS::AccountId}",
    names.REGION: "${AWS::Region}",
    names.RAW: "${RawBucketName}",
    names.LAKE: "${LakeBucketName}",
    names.ALARMS: "${AlarmsKey}",
    names.REPOSITORY: "${RepositoryName}",
    names.NAME: "${AWS::StackName}",
}
_IMAGE = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${RepositoryName}:${ImageTag}"
_WITH_ALARMS = {"Fn::Sub": f"s3://{names.LAKE}/{names.ALARMS}"}

Resources = dict[str, Any]


def cloudformation(stack: Stack) -> str:
    """The template's text."""
    runs = _function(stack) if stack.run == "lambda" else _task(stack)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": (
            "VPC flow logs into a bucket, converted into a lake by FlowLake "
            + ("as they arrive." if stack.run == "lambda" else "every quarter of an hour.")
        ),
        "Parameters": _parameters(stack),
        "Conditions": {"HasAlarms": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmsKey"}, ""]}]}},
        "Resources": {**_buckets(stack), **runs},
        "Outputs": {
            "Lake": {
                "Description": "For --lake, and FLOWLAKE_LAKE.",
                "Value": {"Fn::Sub": names.LAKE_URL},
            },
            "TopicArn": {
                "Description": "For topic_arn in alarms.toml.",
                "Value": {"Ref": "Topic"},
            },
        },
    }
    return "\n".join(_lines(replaced(template, _NAMES))) + "\n"


def _parameters(stack: Stack) -> dict[str, Any]:
    def text(description: str, default: str | None = None) -> dict[str, Any]:
        given = {} if default is None else {"Default": default}
        return {"Type": "String", "Description": description, **given}

    common = {
        "RawBucketName": text("The bucket to be made for flow logs."),
        "LakeBucketName": text("The bucket to be made for the lake."),
        "VpcId": {"Type": "AWS::EC2::VPC::Id", "Description": "The VPC to record."},
        "MaxAggregationInterval": {
            "Type": "Number",
            "Description": "Seconds that one record may sum up.",
            "Default": 60,
            "AllowedValues": [60, 600],
        },
        "RawDays": {
            "Type": "Number",
            "Description": "Days that flow logs are kept as AWS wrote them; the lake has them.",
            "Default": 90,
            "MinValue": 1,
        },
        "RepositoryName": text("The ECR repository, of this account, that FlowLake's image is in."),
        "ImageTag": text("The image's tag.", "latest"),
        "AlarmsKey": text(
            "alarms.toml's key in the lake's bucket, once it is there; empty for no alarms.", ""
        ),
    }
    if stack.run == "lambda":
        return common
    return {
        **common,
        "SubnetIds": {
            "Type": "List<AWS::EC2::Subnet::Id>",
            "Description": "Where the task runs: S3, ECR, CloudWatch Logs and SNS are reached.",
        },
        "SecurityGroupIds": {
            "Type": "List<AWS::EC2::SecurityGroup::Id>",
            "Description": "The task's security groups: it opens connections, and takes none.",
        },
        "AssignPublicIp": {
            "Type": "String",
            "Description": "ENABLED in public subnets without a NAT gateway.",
            "Default": "DISABLED",
            "AllowedValues": ["DISABLED", "ENABLED"],
        },
        "ScheduleExpression": text("When to convert.", names.EVERY),
        "CompactExpression": text("When to merge small files.", names.DAILY),
    }


def _buckets(stack: Stack) -> Resources:
    told: Resources = {}
    if stack.run == "lambda":
        below = {"Rules": [{"Name": "prefix", "Value": "AWSLogs/"}]}
        new = {
            "Event": "s3:ObjectCreated:*",
            "Queue": {"Fn::GetAtt": ["Queue", "Arn"]},
            "Filter": {"S3Key": below},
        }
        told = {"NotificationConfiguration": {"QueueConfigurations": [new]}}
    raw = _bucket("RawBucketName", expires={"Ref": "RawDays"}, **told)
    if told:
        raw["DependsOn"] = "QueuePolicy"
    return {
        "RawBucket": raw,
        "RawBucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "RawBucket"},
                "PolicyDocument": _document(stack, "delivery"),
            },
        },
        "FlowLog": {
            "Type": "AWS::EC2::FlowLog",
            "DependsOn": "RawBucketPolicy",
            "Properties": {
                "ResourceType": "VPC",
                "ResourceId": {"Ref": "VpcId"},
                "TrafficType": "ALL",
                "LogDestinationType": "s3",
                "LogDestination": {"Fn::GetAtt": ["RawBucket", "Arn"]},
                "LogFormat": names.FORMAT,
                "MaxAggregationInterval": {"Ref": "MaxAggregationInterval"},
                "DestinationOptions": {
                    "FileFormat": stack.destination_format,
                    "HiveCompatiblePartitions": stack.hive,
                    "PerHourPartition": stack.hourly,
                },
            },
        },
        "LakeBucket": _bucket("LakeBucketName"),
        "Topic": {"Type": "AWS::SNS::Topic"},
    }


def _bucket(name: str, expires: Any = None, **more: Any) -> Resources:
    rules: list[dict[str, Any]] = [
        {
            "Id": "unfinished-parts",
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": names.PARTS_DAYS},
        }
    ]
    if expires is not None:
        rules.append({"Id": "raw", "Status": "Enabled", "ExpirationInDays": expires})
    encrypted = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    return {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BucketName": {"Ref": name},
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [encrypted]},
            "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "LifecycleConfiguration": {"Rules": rules},
            **more,
        },
    }


def _function(stack: Stack) -> Resources:
    dead = {
        "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
        "maxReceiveCount": names.RECEIVES,
    }
    return {
        "DeadLetterQueue": _queue(names.DEAD_DAYS),
        "Queue": _queue(names.WAIT_DAYS, VisibilityTimeout=names.VISIBILITY, RedrivePolicy=dead),
        "QueuePolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "Queue"}],
                "PolicyDocument": _document(stack, "queue"),
            },
        },
        "FunctionRole": _role(stack, "function trust", "function"),
        "FunctionLog": _log(names.FUNCTION_LOG),
        "Function": {
            "Type": "AWS::Lambda::Function",
            "DependsOn": "FunctionLog",
            "Properties": {
                "FunctionName": {"Ref": "AWS::StackName"},
                "PackageType": "Image",
                "Code": {"ImageUri": {"Fn::Sub": _IMAGE}},
                "Role": {"Fn::GetAtt": ["FunctionRole", "Arn"]},
                "MemorySize": names.MEMORY,
                "Timeout": names.TIMEOUT,
                "ReservedConcurrentExecutions": 1,
                "Environment": {
                    "Variables": {
                        "FLOWLAKE_LAKE": {"Fn::Sub": names.LAKE_URL},
                        "FLOWLAKE_ALARMS": {
                            "Fn::If": ["HasAlarms", _WITH_ALARMS, {"Ref": "AWS::NoValue"}]
                        },
                    }
                },
            },
        },
        "NewObjects": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                "BatchSize": names.BATCH,
                "MaximumBatchingWindowInSeconds": names.WINDOW,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
            },
        },
    }


def _task(stack: Stack) -> Resources:
    convert = [{"Fn::Sub": each} if "s3://" in each else each for each in names.CONVERT]
    with_alarms = {
        "Fn::If": ["HasAlarms", [*convert, "--alarms", _WITH_ALARMS], convert],
    }
    compact = {"containerOverrides": [{"name": "flowlake", "command": list(names.COMPACT)}]}
    return {
        "TaskRole": _role(stack, "task trust", "task"),
        "ExecutionRole": _role(stack, "task trust", "execution"),
        "TaskLog": _log(names.TASK_LOG),
        "Cluster": {
            "Type": "AWS::ECS::Cluster",
            "Properties": {"ClusterName": {"Ref": "AWS::StackName"}},
        },
        "TaskDefinition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": {"Ref": "AWS::StackName"},
                "RequiresCompatibilities": ["FARGATE"],
                "NetworkMode": "awsvpc",
                "Cpu": str(names.TASK_CPU),
                "Memory": str(names.TASK_MEMORY),
                "TaskRoleArn": {"Fn::GetAtt": ["TaskRole", "Arn"]},
                "ExecutionRoleArn": {"Fn::GetAtt": ["ExecutionRole", "Arn"]},
                "ContainerDefinitions": [
                    {
                        "Name": "flowlake",
                        "Image": {"Fn::Sub": _IMAGE},
                        "EntryPoint": ["flowlake"],
                        "Command": with_alarms,
                        "LogConfiguration": {
                            "LogDriver": "awslogs",
                            "Options": {
                                "awslogs-group": {"Ref": "TaskLog"},
                                "awslogs-region": {"Ref": "AWS::Region"},
                                "awslogs-stream-prefix": "flowlake",
                            },
                        },
                    }
                ],
            },
        },
        "ScheduleRole": _role(stack, "schedule trust", "schedule"),
        "ConvertSchedule": _schedule("ScheduleExpression"),
        "CompactSchedule": _schedule("CompactExpression", Input={"Fn::Sub": json.dumps(compact)}),
    }


def _schedule(expression: str, **more: Any) -> Resources:
    network = {
        "AwsvpcConfiguration": {
            "Subnets": {"Ref": "SubnetIds"},
            "SecurityGroups": {"Ref": "SecurityGroupIds"},
            "AssignPublicIp": {"Ref": "AssignPublicIp"},
        }
    }
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": {"Ref": expression},
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": {"Fn::GetAtt": ["Cluster", "Arn"]},
                "RoleArn": {"Fn::GetAtt": ["ScheduleRole", "Arn"]},
                "EcsParameters": {
                    "TaskDefinitionArn": {"Ref": "TaskDefinition"},
                    "LaunchType": "FARGATE",
                    "NetworkConfiguration": network,
                },
                **more,
            },
        },
    }


def _queue(days: int, **properties: Any) -> Resources:
    return {
        "Type": "AWS::SQS::Queue",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
        "Properties": {
            "SqsManagedSseEnabled": True,
            "MessageRetentionPeriod": days * 86_400,
            **properties,
        },
    }


def _log(name: str) -> Resources:
    return {
        "Type": "AWS::Logs::LogGroup",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
        "Properties": {"LogGroupName": {"Fn::Sub": name}, "RetentionInDays": names.LOG_DAYS},
    }


def _role(stack: Stack, trust: str, policy: str) -> Resources:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": _document(stack, trust),
            "Policies": [{"PolicyName": "flowlake", "PolicyDocument": _document(stack, policy)}],
        },
    }


def _document(stack: Stack, name: str) -> Any:
    return _substituted(replaced(stack.policy(name), _NAMES))


def _substituted(value: Any) -> Any:
    """A document in which each text that names something is given to ``Fn::Sub``."""
    if isinstance(value, Mapping):
        return {each: _substituted(inner) for each, inner in value.items()}
    if isinstance(value, list):
        return [_substituted(each) for each in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${" in value else value


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 ,.;:/_-]*[A-Za-z0-9./]")
_NOT_TEXT = re.compile(r"true|false|yes|no|on|off|null|y|n", re.IGNORECASE)


def _lines(value: Any, tag: str = "") -> list[str]:
    """YAML, with the short forms of CloudFormation's functions; scalars are one line."""
    if isinstance(value, Mapping) and len(value) == 1:
        name, inner = next(iter(value.items()))
        if name == "Ref" or name.startswith("Fn::"):
            if name == "Fn::GetAtt":
                inner = ".".join(inner)
            return _lines(inner, f"!{name.removeprefix('Fn::')}")
    if isinstance(value, Mapping) and value:
        found = [tag] if tag else []
        for name, inner in value.items():
            found += _entry(f"{_scalar(name)}:", _lines(inner))
        return found
    if isinstance(value, list | tuple) and value:
        found = [tag] if tag else []
        for each in value:
            first, *rest = _lines(each)
            found += [f"- {first}", *(f"  {line}" for line in rest)]
        return found
    return [f"{tag} {_scalar(value)}".strip()]


def _entry(key: str, lines: list[str]) -> list[str]:
    if len(lines) == 1 and not lines[0].startswith("- ") and not _is_mapping(lines[0]):
        return [f"{key} {lines[0]}"]
    if lines[0].startswith("!"):
        return [f"{key} {lines[0]}", *(f"  {line}" for line in lines[1:])]
    return [key, *(f"  {line}" for line in lines)]


def _is_mapping(line: str) -> bool:
    return bool(re.match(r'("[^"]*"|[A-Za-z0-9:_-]+):( |$)', line))


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        simple = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and ": " not in value
        return value if simple and len(value) < 90 else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
