"""Aliases that do not move by themselves: named policies of gates, approvals by others, and what is missing of them."""
