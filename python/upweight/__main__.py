# SPDX-License-Identifier: BSD-3-Clause
"""``python -m upweight`` is the command ``upweight``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
