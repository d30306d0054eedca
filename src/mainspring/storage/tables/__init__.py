"""Tables: versioned, transactional frames in Delta Lake format."""
