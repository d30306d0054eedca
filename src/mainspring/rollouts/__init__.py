"""Rollouts: canaries that grow, are promoted or rolled back on always-valid evidence."""
