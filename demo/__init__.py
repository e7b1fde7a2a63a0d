"""The demo: `python -m demo` films a street that is drawn here, and cleans the film."""

import os

# As the command does, and before torch loads: see stream.cli.main.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
