"""What the data of a run look like, part by part: distributions, missing values and correlations, as a document."""

from capstan.data.description.columns import describe_columns
from capstan.data.description.correlations import correlations

__all__ = ["correlations", "describe_columns"]
