"""``python -m spl`` is ``spl``."""

import sys

from spl.cli import main

sys.exit(main())
