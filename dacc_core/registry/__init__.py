"""Typed records over a keystore, changed by compare-and-swap only. Pure: no input, no output."""
