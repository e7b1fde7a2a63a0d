"""Checks for `stream.doctor.worker` that do what none should."""
