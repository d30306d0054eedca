"""Features: one definition, for the training set of yesterday and the prediction of now."""
