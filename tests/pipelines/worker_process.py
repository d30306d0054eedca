"""A worker as a process: ``worker_process.py URL NAME LEASE_S IMPORT_PATH``; it runs until it is killed."""

from __future__ import annotations

import sys
import threading

from mainspring.pipelines.leases import Leases
from mainspring.pipelines.worker import Worker, WorkerOptions
from mainspring.storage.sql.database import open_database

url, name, lease_s, path = sys.argv[1:]
options = WorkerOptions(import_paths=[path], poll_s=0.02, drain_s=0.5)
Worker(Leases(open_database(url), lease_s=float(lease_s)), name, options).run(threading.Event())
