"""Models of other libraries that were fitted elsewhere: they answer as scikit-learn's do.

Each travels by pickle inside a Bento as the bytes that its own library writes, so names and attributes of the
classes may not change.
"""
