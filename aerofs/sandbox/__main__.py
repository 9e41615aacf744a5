"""`python -m aerofs.sandbox`."""

import sys

from aerofs.sandbox.command import main

if __name__ == "__main__":
    sys.exit(main())
