"""Order among experiments and runs: names and folders, groups, notes, stars, what is archived and what is deleted."""
