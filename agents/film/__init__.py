"""``spl film``: a trained agent at work as a video with its sound."""
