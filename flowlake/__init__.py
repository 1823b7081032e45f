"""FlowLake: AWS VPC Flow Logs as a lake of Parquet, asked in SQL and in Polars."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowlake import analyses
    from flowlake.alarms import AlarmRun, run_alarms
    from flowlake.backtesting import Backtest, backtest
    from flowlake.compacting import Compaction, compact
    from flowlake.connecting import write_database
    from flowlake.converting import Progress, Report, convert
    from flowlake.enrichment import Enrichment
    from flowlake.errors import (
        CommitConflict,
        DeliveryFailed,
        FlowLakeError,
        LakeError,
        NotAFlowLog,
        NothingThere,
        ObjectUnreadable,
        StorageError,
        UsageError,
        WorkersLost,
    )
    from flowlake.expiring import expire
    from flowlake.indicators import Indicator, parse_indicator, read_indicators
    from flowlake.inspecting import Inspection, inspect
    from flowlake.lake import Lake, open_lake
    from flowlake.planning import plan
    from flowlake.registering import ddl
    from flowlake.report import ReportFile, write_report
    from flowlake.rules import read_rules
    from flowlake.setup.checking import Check, check_flow_logs
    from flowlake.setup.flow_logs import described_flow_logs
    from flowlake.setup.provisioning import (
        FlowLogPlan,
        create_flow_logs,
        delete_flow_logs,
        plan_flow_logs,
    )
    from flowlake.setup.recording import Recording
    from flowlake.status import Status
    from flowlake.storage import Access
    from flowlake.translating import translate
    from flowlake.vacuuming import vacuum
    from flowlake.verifying import Verification, verify

__all__ = [
    "Access",
    "AlarmRun",
    "Backtest",
    "Check",
    "CommitConflict",
    "Compaction",
    "DeliveryFailed",
    "Enrichment",
    "FlowLakeError",
    "FlowLogPlan",
    "Indicator",
    "Inspection",
    "Lake",
    "LakeError",
    "NotAFlowLog",
    "NothingThere",
    "ObjectUnreadable",
    "Progress",
    "Recording",
    "Report",
    "ReportFile",
    "Status",
    "StorageError",
    "UsageError",
    "Verification",
    "WorkersLost",
    "analyses",
    "backtest",
    "check_flow_logs",
    "compact",
    "convert",
    "create_flow_logs",
    "ddl",
    "delete_flow_logs",
    "described_flow_logs",
    "expire",
    "inspect",
    "open_lake",
    "parse_indicator",
    "plan",
    "plan_flow_logs",
    "read_indicators",
    "read_rules",
    "run_alarms",
    "translate",
    "vacuum",
    "verify",
    "write_database",
    "write_report",
]

_HOMES = {
    "flowlake.alarms": ("AlarmRun", "run_alarms"),
    "flowlake.backtesting": ("Backtest", "backtest"),
    "flowlake.setup.checking": ("Check", "check_flow_logs"),
    "flowlake.compacting": ("Compaction", "compact"),
    "flowlake.connecting": ("write_database",),
    "flowlake.converting": ("Progress", "Report", "convert"),
    "flowlake.enrichment": ("Enrichment",),
    "flowlake.errors": (
        "CommitConflict",
        "DeliveryFailed",
        "FlowLakeError",
        "LakeError",
        "NotAFlowLog",
        "NothingThere",
        "ObjectUnreadable",
        "StorageError",
        "UsageError",
        "WorkersLost",
    ),
    "flowlake.setup.flow_logs": ("described_flow_logs",),
    "flowlake.expiring": ("expire",),
    "flowlake.indicators": ("Indicator", "parse_indicator", "read_indicators"),
    "flowlake.inspecting": ("Inspection", "inspect"),
    "flowlake.lake": ("Lake", "open_lake"),
    "flowlake.planning": ("plan",),
    "flowlake.setup.provisioning": (
        "FlowLogPlan",
        "create_flow_logs",
        "delete_flow_logs",
        "plan_flow_logs",
    ),
    "flowlake.setup.recording": ("Recording",),
    "flowlake.registering": ("ddl",),
    "flowlake.report": ("ReportFile", "write_report"),
    "flowlake.rules": ("read_rules",),
    "flowlake.status": ("Status",),
    "flowlake.storage": ("Access",),
    "flowlake.translating": ("translate",),
    "flowlake.vacuuming": ("vacuum",),
    "flowlake.verifying": ("Verification", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the engines take their time."""
    if name == "analyses":
        return importlib.import_module("flowlake.analyses")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'flowlake' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
