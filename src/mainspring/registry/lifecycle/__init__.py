"""The verbs of the life of models: rename, delete, restore and forget them."""
