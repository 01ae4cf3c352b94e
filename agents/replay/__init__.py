"""The replay memory: what was observed, stored once, stacked when it is sampled, saved beside the run."""
