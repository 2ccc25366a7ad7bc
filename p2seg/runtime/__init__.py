"""What a run needs beside its work: files, processes, signals, claims and records."""
