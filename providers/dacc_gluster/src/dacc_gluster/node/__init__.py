"""What runs on the hosts: sent there with the node kit."""
