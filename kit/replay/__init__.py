"""Public trips and steps, sent through the real API as if made-up people had just made them."""
