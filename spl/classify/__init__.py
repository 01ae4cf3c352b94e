"""Image classifiers: training, restarts, evaluation and comparison."""
