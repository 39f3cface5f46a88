"""`python -m minigan` is `minigan`."""

import sys

from minigan.cli.command_line import main

sys.exit(main())
