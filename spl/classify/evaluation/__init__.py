"""What a trained classifier is worth: its scores, how sure it may be of an answer, its maps against masks."""
