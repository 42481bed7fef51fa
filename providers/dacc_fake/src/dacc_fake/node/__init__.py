"""What runs on the hosts. Only its source text is used: see :mod:`dacc_fake.remote`."""
