"""The outputs of a live feed, each in a process of its own."""
