"""The commands of `tpuens`, one module each; `tpuens.cli` puts them together."""
