"""Tools for testing: a simulated cluster, and (with the SDK's own release) the conformance kit for providers."""
