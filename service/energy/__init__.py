"""The life of a bubble: it ripens, is collected, or expires."""
