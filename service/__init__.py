"""Saxaul: recorded low-carbon actions become energy, energy becomes trees."""
