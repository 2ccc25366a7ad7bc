"""The command `p2seg`: `main` lists its commands, and each command is a file of its name."""
