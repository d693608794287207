"""``make demo``: Headrace with everything around it, on this machine alone."""

import sys

from flows.commands.failure import CommandFailed
from tests.demo.run import main

try:
    main(sys.argv[1:])
except CommandFailed as error:
    sys.exit(f"make demo: {error}")
