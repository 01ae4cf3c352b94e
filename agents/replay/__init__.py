"""The replay memory: each observation stored once, stacked when sampled, saved with the run."""
