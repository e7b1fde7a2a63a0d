"""What users ask for: options of files and live feeds, checked where they are made.

Imports next to nothing, so that a command can check its options before anything heavy is loaded."""
