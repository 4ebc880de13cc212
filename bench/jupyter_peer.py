"""jupyter_client and ipykernel, for bench/interpreter: run by the Python of their own environment.

`jupyter_peer.py KERNELS EXECUTIONS` starts kernels one after the other, executes `print(1)` in the first, and
prints {"start_s": [...], "execute_s": [...], "pss_bytes": of all kernels}.
"""

import json
import sys
import time

import psutil
from jupyter_client import BlockingKernelClient, KernelManager


def main() -> None:
    count, executions = int(sys.argv[1]), int(sys.argv[2])
    started = [started_kernel() for _ in range(count)]
    _, first, _ = started[0]
    for _ in range(10):
        execute(first)
    said = {
        "start_s": [start_s for _, _, start_s in started],
        "execute_s": [execute(first) for _ in range(executions)],
        "pss_bytes": sum(it.memory_full_info().pss for it in psutil.Process().children(recursive=True)),
    }
    for manager, client, _ in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    print(json.dumps(said))


def started_kernel() -> tuple[KernelManager, BlockingKernelClient, float]:
    """Start a kernel, and return it with the seconds until it was ready."""
    began = time.monotonic()
    manager = KernelManager()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return manager, client, time.monotonic() - began


def execute(client: BlockingKernelClient) -> float:
    """Seconds until the kernel is idle again."""
    began = time.monotonic()
    id, printed = client.execute("print(1)"), ""
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != id:
            continue
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            assert printed == "1\n", printed
            return time.monotonic() - began


if __name__ == "__main__":
    main()
