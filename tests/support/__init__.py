"""What tests of several packages stand on: servers, clusters, records."""
