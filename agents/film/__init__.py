"""``spl film``: a video, with sound, of a trained agent playing."""
