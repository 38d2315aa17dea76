"""The parent that launches one worker a run, and the worker."""
