"""What a daemon reports of itself: metrics, and the hooks of installed plugins."""
