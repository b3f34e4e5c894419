"""Metrics of a table of predictions, whoever made them: no model, file or system is needed."""
