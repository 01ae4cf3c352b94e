"""A monitor that detects from the streams alone that a modality has failed, and what it was fitted to."""
