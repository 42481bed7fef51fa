"""``dacc``, the command line for operators and provider authors."""
