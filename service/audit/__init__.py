"""Everything that was written down is recomputed and compared: `saxaul ledger audit`."""
