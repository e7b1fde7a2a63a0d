"""The checks, a module each with `look()`, and the findings that they return."""
