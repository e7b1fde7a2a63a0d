"""Timing scripts; they use the public API only."""

import os

# As the command does, and before torch loads: see stream.cli.main.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
