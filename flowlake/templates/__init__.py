"""Templates that make all of it: buckets, a flow log, FlowLake on its events or on a schedule."""

from flowlake.templates.cloudformation import cloudformation
from flowlake.templates.stack import FILE_FORMATS, RUNS, Stack
from flowlake.templates.terraform import terraform

__all__ = ["FILE_FORMATS", "RUNS", "Stack", "cloudformation", "terraform"]
