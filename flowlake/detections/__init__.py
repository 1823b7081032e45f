"""Traffic that looks wrong: each kind of alarm is a function over flows.

The functions are pure: they take flows as a LazyFrame with the lake's schema and give a frame of
``incidents.INCIDENTS``.
"""

from flowlake.detections.access import FORBIDDEN_ENDPOINT, WATCHED_PORT
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter

DETECTIONS: tuple[Detection, ...] = (
    WATCHED_PORT,
    FORBIDDEN_ENDPOINT,
)
"""Every kind of alarm."""

__all__ = ["DETECTIONS", "GAP", "INCIDENTS", "Detection", "Parameter"]
