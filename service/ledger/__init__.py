"""Double-entry books, one a participant, with a hash chain over their transfers."""
