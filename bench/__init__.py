"""Measure image classification on this machine, with the functions of `tpuens`."""

# The console script reads this to tell our package from another distribution of the same name.
DISTRIBUTION = "tpuens"
