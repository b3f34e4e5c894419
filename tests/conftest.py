"""What holds for all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

# State folders of tests are no systems of the person who runs them: `capstan ls` must not list them.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="capstan-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# Hypothesis fails an example that takes 200 ms by the clock. A machine that others keep busy takes that for anything.
settings.register_profile("any-machine", settings(), deadline=None)
settings.load_profile("any-machine")
