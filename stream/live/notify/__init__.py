"""Tells others what becomes of cameras: by HTTP, and by MQTT."""
