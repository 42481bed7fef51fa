"""What runs on the hosts: sent there with the node kit, and never imported by the provider itself."""
