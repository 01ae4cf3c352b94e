"""Classifiers: networks that name images, trained, restarted, judged and compared."""
