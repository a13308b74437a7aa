"""What a compiled rulebook says of one action: acceptable or not, and what it earns."""
