"""What a run leaves on disk and reports: its directory, checkpoints, log, and the machine it ran on."""
