"""A version as one file that needs no Capstan: its fitted transform and model as a graph of ONNX.

Everything is computed in float64, by the operations of the model service in the same order where order matters.
"""
