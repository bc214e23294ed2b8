"""`python -m clip_sae`: see clip_sae.cli."""

import sys

from clip_sae.cli import main

sys.exit(main())
