"""Clocks, memory and the description of the machine."""
