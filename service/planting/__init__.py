"""Energy becomes trees: projects, pledges, plots, proof."""
