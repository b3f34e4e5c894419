"""The page in a cluster: the one of one machine, for all systems, and for people whom the cluster knows."""
