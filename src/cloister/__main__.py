"""``python -m cloister``."""

import sys

from cloister.cli.main import main

sys.exit(main())
