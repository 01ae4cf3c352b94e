"""The Q-network: from the codes of two streams to the values of actions, and the parts of its losses."""
