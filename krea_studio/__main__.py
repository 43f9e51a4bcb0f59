"""`python -m krea_studio …`: the command line."""

import sys

from krea_studio.startup import uncollected

with uncollected():
    from krea_studio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
