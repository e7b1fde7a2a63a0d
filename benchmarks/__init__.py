"""What the program costs, measured: `python -m benchmarks`.

Each part is a module that measures and returns a `Part`; all use the project's own interfaces.
Figures that are compared come from one run and are taken in turns (A B A B ...), so that a machine
that others use as well is slow for all of them alike. Times are medians.
"""

import os

# As the command does, and before torch loads: see stream.cli.main.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
