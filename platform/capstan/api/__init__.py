"""The Python API: the nouns and verbs of the command line, for notebooks and programs."""
