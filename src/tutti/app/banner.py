"""The text that `tutti serve` shows a person: the progress of the first models, then how to use them."""

import asyncio
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from tutti.base.address import local_url
from tutti.base.settings import Settings
from tutti.node.fleet import Fleet
from tutti.node.replica import Replica
from tutti.node.runner import Runner
from tutti.process.probe import get

_LOOK_S = 0.05
_ANSWER_S = 5.0


async def announce(settings: Settings, fleet: Fleet, models: Sequence[str], *, open_to_all: bool) -> None:
    """Print the banner once a request would be served. `open_to_all`: no API key exists."""
    console = Console(highlight=False)
    base = local_url(settings.host, settings.port)
    with _Bars(console) as bars:
        while not await _is_ready(base):
            bars.show(fleet.runners)
            await asyncio.sleep(_LOOK_S)
    console.print(banner(base, models, open_to_all=open_to_all), markup=False, soft_wrap=True)


def banner(base: str, models: Sequence[str], *, open_to_all: bool) -> str:
    key = "tutti" if open_to_all else "YOUR_KEY"
    note = "any key is accepted, until you make one: tutti keys create" if open_to_all else "tutti keys list"
    model = models[0] if models else "MODEL"
    call = f".chat.completions.create(model='{model}', messages=[{{'role': 'user', 'content': 'Hello'}}])"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    client = f"(base_url='{base}/v1', api_key='{key}')"
    headers = f"-H 'authorization: Bearer {key}' -H 'content-type: application/json'"
    return f"""
  Tutti is ready:  {base}/v1
  API key:         {key}  ({note})

  curl {base}/v1/chat/completions {headers} -d '{body}'
  python -c "from together import Together; print(Together{client}{call})"
  python -c "from openai import OpenAI; print(OpenAI{client}{call})"
"""


async def _is_ready(base: str) -> bool:
    try:
        status, _ = await get(f"{base}/readyz", _ANSWER_S)
    except (OSError, ValueError):
        return False
    return status == 200


class _Bars:
    """A bar for each model that is being pulled; nothing where there is no terminal."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, runners: Iterable[Runner]) -> None:
        for runner in runners:
            pulled = runner.workload.pulled if isinstance(runner.workload, Replica) else None
            if runner.state == "pulling" and pulled is not None:
                done, total = pulled.done_bytes, pulled.total_bytes
                self._progress.update(self._bar(runner), completed=done, total=total or None)
            elif runner.id in self._bars:
                self._progress.remove_task(self._bars.pop(runner.id))

    def _bar(self, runner: Runner) -> TaskID:
        if runner.id not in self._bars:
            self._bars[runner.id] = self._progress.add_task(runner.key.name, total=None)
        return self._bars[runner.id]
