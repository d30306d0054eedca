"""The processes: the only place where Protocols meet the things that keep them."""
