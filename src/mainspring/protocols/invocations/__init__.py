"""The scoring calls of MLflow's model server: ``POST /invocations``."""
