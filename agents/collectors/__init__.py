"""Collectors on Ray: processes that play, perhaps on other machines, for one learner."""
