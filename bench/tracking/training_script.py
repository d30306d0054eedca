"""What a user runs with MLflow's own client, unchanged: ``python training_script.py URL CALL RUNS METRICS``."""

import sys
import time

import mlflow

PER_CALL = 10


def one_by_one(metrics: int) -> None:
    for step in range(metrics):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)


def ten_at_once(metrics: int) -> None:
    for step in range(metrics // PER_CALL):
        mlflow.log_metrics({f"metric-{number}": step / 7 + number for number in range(PER_CALL)}, step=step)


if __name__ == "__main__":
    url, call, runs, metrics = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment(f"{call} {time.time_ns()}")
    began = time.perf_counter()
    for number in range(runs):
        with mlflow.start_run(run_name=f"run-{number}"):
            mlflow.log_params({"depth": number, "learning_rate": 0.1})
            {"log_metric": one_by_one, "log_metrics": ten_at_once}[call](metrics)
    print(f"seconds {time.perf_counter() - began}", flush=True)
