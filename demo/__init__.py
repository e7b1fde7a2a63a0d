"""The demo: `python -m demo` films a street that is drawn here, and cleans the film."""
