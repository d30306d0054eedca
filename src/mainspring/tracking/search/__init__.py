"""Search: the language of filters over runs, and its translation to SQL."""
