"""How a neural network learns, by PyTorch: in this process, or in several that share the rows of each step.

Nothing here imports PyTorch before it is asked to learn. What was learnt is arrays of numpy.
"""
