"""Typed records over a keystore, changed by compare-and-swap only, and the verbs that front ends may ask for."""
