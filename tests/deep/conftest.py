"""`make test-deep` installs PyTorch, XGBoost and Spark, which the other tiers do without."""

from importlib.util import find_spec

collect_ignore_glob = [
    f"test_*_{name}.py" for name in ("torch", "xgboost", "pyspark") if find_spec(name) is None
]
