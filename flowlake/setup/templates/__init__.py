"""Templates that make all of it: buckets, a flow log, FlowLake on its events or on a schedule."""

from flowlake.setup.templates.cloudformation import cloudformation
from flowlake.setup.templates.stack import FILE_FORMATS, RUNS, Stack
from flowlake.setup.templates.terraform import terraform

__all__ = ["FILE_FORMATS", "RUNS", "Stack", "cloudformation", "terraform"]
