"""One page that tells a run, or several side by side: ``spl report RUN [RUN ...]``."""
