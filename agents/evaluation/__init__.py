"""What a trained agent earns, with all modalities and when one fails, and why it acts as it does."""
