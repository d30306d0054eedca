"""How records are compared with the values of a filter, in use or deleted, and with the last one of a page."""
