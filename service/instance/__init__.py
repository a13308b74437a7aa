"""What a program runs on: real servers for whoever has none, their addresses, the migrations."""
