"""The training step, the loop around it, and checkpoints."""
