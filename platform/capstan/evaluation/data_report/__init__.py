"""The report of a run's data: what was read, checked, parted and learnt from, as one HTML file that loads nothing."""

DATA_REPORT = "data.html"
"""In the run's folder, and among what the registry keeps of the run."""
