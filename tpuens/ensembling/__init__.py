"""Predictions of several models combined into one."""
