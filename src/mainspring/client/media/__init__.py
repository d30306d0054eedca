"""What can be logged beside numbers: each kind turns what the caller has into a file that others can read."""
