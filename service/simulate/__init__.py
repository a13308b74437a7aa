"""What recorded actions would have given under a draft of the rules, beside what was paid."""
