"""Live pictures and sound encoded, and put into containers."""
