"""Why an alert fired: which values of which features moved, and how much of a rise of losses each explains."""
