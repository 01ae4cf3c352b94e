"""Commands that train many agents: comparisons of options and curricula, several seeds, searches."""
