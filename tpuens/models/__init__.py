"""Backbones by name, and the classifier built on one."""
