"""The program as an operator starts it: its processes, its commands, its generated description."""
