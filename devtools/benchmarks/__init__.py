"""What things cost, each beside a rival that does the same work, in one run."""
