"""What a verb does, without its words: the command line prints what comes back, the Python API returns it.

What only a cluster has, and what asks a person, stays in `capstan.cli`.
"""
