"""`make demo`: exporter, Prometheus and Alertmanager, containers, an OOM kill, and its alert.

Root, docker, busybox and Debian's prometheus and prometheus-alertmanager. Ctrl-C ends all of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.grafana.scene import NEEDED, played

missing = [name for name in NEEDED if shutil.which(name) is None]
if missing or os.geteuid() != 0:
    sys.exit(f"it needs root and, not found: {', '.join(missing) or 'nothing'}")
with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as ends:
    print("containers, exporter, Prometheus and Alertmanager are started …", flush=True)
    directories = [Path(ends.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
    scene = ends.enter_context(played(directories[0] / "lab", directories[1]))
    print(f"metrics     {scene.stack.exporter}/metrics\nPrometheus  {scene.stack.prometheus}")
    print("shop-web and report-job will take more memory than they may …", flush=True)
    told = 0
    while True:
        for when, alert in scene.stack.webhook.alerts[told:]:
            clock = time.strftime("%H:%M:%S", time.localtime(when))
            print(f"{clock} {alert['status']}: {alert['annotations']['summary']}", flush=True)
            told += 1
        time.sleep(0.2)
