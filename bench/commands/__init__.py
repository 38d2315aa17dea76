"""The commands of `tpuens-bench`, a module each."""
