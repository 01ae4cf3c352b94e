"""How models learn: the loop, one optimizer step, losses, learning-rate schedule, restarts."""
