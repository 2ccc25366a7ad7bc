"""Developer tools: benchmarks, fuzzing, fault injection, the generated site, and pictures."""
