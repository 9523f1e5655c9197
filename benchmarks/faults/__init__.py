"""What clients notice of a slow node, a dead one, and of too much load."""
