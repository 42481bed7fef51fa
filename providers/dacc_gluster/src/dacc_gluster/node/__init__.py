"""Programs that are sent to hosts and run there: ``common`` before the others, on Python 3.6 or newer, as root."""
