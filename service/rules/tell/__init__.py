"""Rules in words for whoever reads them: steps, differences, worries, the catalogue."""
