"""A self-contained HTML report of one run or several side by side: ``spl report RUN [RUN ...]``."""
