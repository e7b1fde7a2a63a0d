"""Cameras, relays, faults and players with which live feeds are tried on one machine."""
