"""``spl explain``: what a trained model looked at, drawn and measured."""
