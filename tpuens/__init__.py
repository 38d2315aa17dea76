"""Train and ensemble Keras image classifiers on CPU, GPU and TPU."""

__version__ = "0.1.0"
