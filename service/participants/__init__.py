"""Who acts: identities, people's own settings, what operators may look up."""
