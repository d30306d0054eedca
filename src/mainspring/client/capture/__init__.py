"""What is recorded of a run without being asked for: where it runs, of which code, what it prints, what it uses."""
