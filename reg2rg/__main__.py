"""python -m reg2rg, the same as the command reg2rg."""

import sys

from reg2rg.cli import main

if __name__ == "__main__":
    sys.exit(main())
