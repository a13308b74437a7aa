"""Saxaul: recorded low-carbon actions become energy, energy becomes trees."""

VERSION = "0.1.0"
