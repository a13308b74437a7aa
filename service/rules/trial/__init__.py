"""Rules are tried before they decide: examples, scenarios, what these have reached."""
