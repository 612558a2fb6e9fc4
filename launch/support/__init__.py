"""What the commands of launch/ share."""
