"""The record of one run, and the folder that keeps records."""
