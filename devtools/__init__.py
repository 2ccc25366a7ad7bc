"""What only developers of p2seg run: benchmarks, fuzzing, disturbances, the site, pictures."""
