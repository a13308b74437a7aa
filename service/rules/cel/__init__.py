"""The one port to the expression engine, and what can be proven about an expression."""
