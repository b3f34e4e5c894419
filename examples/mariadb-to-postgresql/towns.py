"""Orders of each town, by DataFrames: those of PySpark where Spark runs, else tables of pyarrow."""

from collections.abc import Callable, Mapping
from typing import Any


def by_town() -> Callable[[Mapping[str, Any]], Any]:
    """Makes the function that Capstan calls with the tables by their names."""

    def function(tables: Mapping[str, Any]) -> Any:
        paid = tables["paid"]
        if hasattr(paid, "groupBy"):
            from pyspark.sql import functions as f

            return paid.groupBy("town").agg(f.count("*").alias("orders"), f.sum("amount").alias("spent"))
        return (
            paid.to_pandas()
            .groupby("town", as_index=False)
            .agg(orders=("id", "count"), spent=("amount", "sum"))
        )

    return function
