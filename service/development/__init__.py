"""What only a developer's own machine is offered: tokens for the asking, and a movable clock."""
