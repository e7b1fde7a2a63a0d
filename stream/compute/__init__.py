"""Where the networks run: devices, engines, precision, and how planes get there and back."""
