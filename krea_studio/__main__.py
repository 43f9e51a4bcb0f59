"""`python -m krea_studio …`: the command line."""

import sys

from krea_studio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
