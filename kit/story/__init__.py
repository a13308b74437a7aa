"""`saxaul demo`: the whole story of the program, told by itself in an instance of its own."""
