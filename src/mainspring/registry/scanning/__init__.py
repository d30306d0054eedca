"""What the files of a model would do when they are loaded: pickles read as programs, none of which is ever run."""
