"""Artifacts as files in folders: of runs, of logged models, of traces, and of nobody."""
