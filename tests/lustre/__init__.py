"""Lustre without Lustre: stand-ins for its programs, and a cluster of hosts to run them on."""
