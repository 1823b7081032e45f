"""Traffic that looks wrong: each kind of alarm is a function over flows.

The functions are pure: they take flows as a LazyFrame with the lake's schema and give a frame of
``incidents.INCIDENTS``.
"""

from flowlake.detections.access import FORBIDDEN_ENDPOINT, WATCHED_PORT
from flowlake.detections.beacons import BEACON
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter
from flowlake.detections.logins import BRUTE_FORCE
from flowlake.detections.scans import HOST_SWEEP, PORT_SCAN, SLOW_SCAN
from flowlake.detections.silence import SILENT_INTERFACE
from flowlake.detections.volumes import EGRESS_VOLUME, REJECT_SURGE

DETECTIONS: tuple[Detection, ...] = (
    PORT_SCAN,
    HOST_SWEEP,
    SLOW_SCAN,
    WATCHED_PORT,
    FORBIDDEN_ENDPOINT,
    BRUTE_FORCE,
    BEACON,
    EGRESS_VOLUME,
    REJECT_SURGE,
    SILENT_INTERFACE,
)
"""Every kind of alarm."""

__all__ = ["DETECTIONS", "GAP", "INCIDENTS", "Detection", "Parameter"]
