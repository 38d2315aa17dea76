"""Predictions on disk, and the metrics computed from them."""
