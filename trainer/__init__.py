"""Compare how neural networks are trained: named techniques, one visible loop, honest comparisons."""

__version__ = "0.3.0"
