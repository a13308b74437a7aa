"""What is held about a person is given to them, and forgotten when they ask for it."""
