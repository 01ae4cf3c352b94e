"""``spl explain``: saliency maps of trained models, drawn and measured."""
