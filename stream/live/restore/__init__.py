"""The restoring process of a live feed, and how it keeps up with the camera."""
