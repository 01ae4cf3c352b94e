"""Sources of samples: images, recordings and videos; loading, labels and corruptions."""
