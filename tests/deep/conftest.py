"""`make test-deep` installs PyTorch, which the other tiers do without."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") is not None else ["test_*.py"]
