"""The REST surface of MLflow's tracking server, as its clients use it, over our own records."""
