"""The objects of a cluster, watched and kept in memory: what the operator and the page read from."""
