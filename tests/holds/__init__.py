"""What the whole platform survives."""
