"""Scorers: how answers are judged, as texts that their clients read; nothing here ever runs one."""
