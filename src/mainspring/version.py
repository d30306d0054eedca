"""The one place that knows Mainspring's version."""

__version__ = "0.1.0"
