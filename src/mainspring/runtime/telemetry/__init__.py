"""What a process says about itself: metrics for Prometheus and structured logs with trace ids."""
