"""Training: the loop, its checkpoints, optimizers, and what it logs."""
