"""Technology: the storage kits know no noun of MLOps."""
