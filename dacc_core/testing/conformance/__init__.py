"""The conformance kit: what every provider must do, as checks that run against any provider and any hosts."""
