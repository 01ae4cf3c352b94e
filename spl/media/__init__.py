"""Video files with sound, read, cached and written; log-mel spectrograms and back."""
