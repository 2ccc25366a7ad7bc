"""What a run needs beside its work: processes and their shares, signals, claims, records."""
