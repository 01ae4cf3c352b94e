"""How a process shares a machine, or several: cores, signals, ranks that train together, a Ray cluster."""
