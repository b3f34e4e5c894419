"""A system in a cluster: which objects it consists of, and how its adapters are wired."""
