"""Traces: what an application did for one request, span by span, and how well it was judged."""
