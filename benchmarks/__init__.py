"""Timing scripts; they use the public API only."""
