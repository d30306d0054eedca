"""Search: the language of filters over traces, and its translation to SQL."""
