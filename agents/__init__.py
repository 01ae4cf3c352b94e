"""Agents: the replay memory, exploration, the multimodal deep Q-network and the loop that trains it."""
