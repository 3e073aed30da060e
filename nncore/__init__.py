"""nncore: small neural networks in plain NumPy, from a recipe to a model file and its predictions."""

__version__ = "0.1.0"
