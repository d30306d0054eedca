"""Media of runs: which images, sounds, tables, figures and so on a run left behind, at which step."""
