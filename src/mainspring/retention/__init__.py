"""What was deleted is removed for good: records in small transactions, then objects that nothing refers to."""
