"""For those who run the service: its health, its figures, its interface."""
