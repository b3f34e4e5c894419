"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# Hypothesis fails an example that takes 200 ms by the clock. A machine that others keep busy takes that for anything.
settings.register_profile("any-machine", settings(), deadline=None)
settings.load_profile("any-machine")
