"""Fitted models of Capstan's own, as they are saved and served: numpy, and scikit-learn where one holds its model.

They import nothing of the file's grammar, so that a model service loads them quickly. Each answers a table, and one
row of it in microseconds.
"""
