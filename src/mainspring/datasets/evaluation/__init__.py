"""Evaluation datasets: what an application is asked when it is judged and what was expected, version by version."""
