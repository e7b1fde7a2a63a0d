"""Jobs on files: one, many, or a few seconds to try; and their reports."""
