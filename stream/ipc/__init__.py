"""Processes and what passes between them: pictures, sound, messages, figures, restarts."""
