"""What a run leaves on disk and reports: its directory, checkpoints, log, machine, signals, threads."""
