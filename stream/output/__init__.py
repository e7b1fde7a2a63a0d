"""Video files out: encoded segments, checkpoints for resuming, and the joined file."""
