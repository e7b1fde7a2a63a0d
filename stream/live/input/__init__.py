"""The camera: how it is addressed, connected to, decoded, and connected to again."""
