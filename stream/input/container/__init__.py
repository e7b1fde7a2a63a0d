"""Container files: how they are opened, their packets on one clock, and those without an end."""
