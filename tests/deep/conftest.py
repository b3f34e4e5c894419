"""`make test-deep` installs PyTorch and XGBoost, which the other tiers do without."""

from importlib.util import find_spec

collect_ignore_glob = [f"test_*_{name}.py" for name in ("torch", "xgboost") if find_spec(name) is None]
