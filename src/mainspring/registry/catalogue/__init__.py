"""The registry as a catalogue: models and versions found, renamed, deleted, and recorded when kept elsewhere."""
