"""The program ``dwstat``."""
