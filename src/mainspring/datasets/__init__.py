"""Datasets: versioned tables that were checked before anyone trained on them."""
