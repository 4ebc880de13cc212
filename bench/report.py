"""One way to say what was measured: a table on the terminal, a JSON file beside the others in results/."""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Claim:
    """`rounds` are the values of one run; the claim is their median. `target` is prose such as '>= 10'."""

    name: str
    unit: str
    rounds: list[float]
    target: str = ""
    met: bool | None = None

    @property
    def median(self) -> float:
        return median(self.rounds)


def at_least(name: str, unit: str, rounds: list[float], bound: float) -> Claim:
    return Claim(name, unit, rounds, f">= {bound:g}", median(rounds) >= bound)


def at_most(name: str, unit: str, rounds: list[float], bound: float) -> Claim:
    return Claim(name, unit, rounds, f"<= {bound:g}", median(rounds) <= bound)


def publish(bench: str, claims: list[Claim], notes: str = "") -> None:
    table = Table("measured", "median", "unit", "rounds", "target", "met", title=bench)
    for claim in claims:
        rounds = " ".join(f"{value:.3g}" for value in claim.rounds)
        met = "" if claim.met is None else ("yes" if claim.met else "NO")
        table.add_row(claim.name, f"{claim.median:.3g}", claim.unit, rounds, claim.target, met)
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "bench": bench,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "notes": notes,
        "claims": [{**vars(claim), "median": claim.median} for claim in claims],
    }
    (RESULTS / f"{bench}.json").write_text(json.dumps(result, indent=1) + "\n")


def machine() -> dict[str, str | int | float]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
