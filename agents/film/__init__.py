"""``spl film`` and ``spl watch``: a video, or a live window, with sound, of a trained agent playing."""
