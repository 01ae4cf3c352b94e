"""``python -m spl`` is ``spl``."""

import sys

from spl.cli.main import main

sys.exit(main())
