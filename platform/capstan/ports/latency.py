"""How versions count the time that their answers take; rules that read these counts know the bounds."""

from __future__ import annotations

LATENCY_BUCKETS = tuple(0.0005 * 1.5**power for power in range(27))
"""Upper bounds in seconds, from 0.5 ms to 19 s."""
