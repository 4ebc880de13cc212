"""`python -m bench [gateway] [tokens] [startup] [batch] [soak] [speech] [transcribe]
[interpreter] [suite]`: without a name all but the suite, which takes an hour."""

import asyncio
import sys

import uvloop

from bench import batch, gateway, interpreter, soak, speech, startup, suite, tokens, transcribe

BENCHES = {
    "gateway": gateway.main,
    "tokens": tokens.main,
    "startup": startup.main,
    "batch": batch.main,
    "soak": soak.main,
    "speech": speech.main,
    "transcribe": transcribe.main,
    "interpreter": interpreter.main,
    "suite": suite.main,
}


def main() -> None:
    names = sys.argv[1:] or [name for name in BENCHES if name != "suite"]
    if unknown := set(names) - set(BENCHES):
        sys.exit(f"unknown bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    for name in names:
        # The loop of the server's own processes.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(BENCHES[name]())


if __name__ == "__main__":
    main()
