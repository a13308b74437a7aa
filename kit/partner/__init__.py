"""What a partner runs on their own side: signing, sending, and vectors to test a client with."""
