"""The hot path of a prediction; nothing here reaches SQL or a data frame."""
