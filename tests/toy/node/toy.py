"""The kind `toy`: a program for whoever wants one."""

from tutti.base.program import Program, Share
from tutti.meeting.wants import Wanted
from tutti.node.fleet import Fleet
from tutti.node.runner import Runner
from tutti.node.workload import Site, Workload
from tutti.process.child import worker_argv


class Toy(Workload):
    """An echo server that answers in the name of `entry`'s model."""

    def share(self, whole: Share) -> Share:
        return Share(memory_bytes=50_000_000)

    def program(self, site: Site) -> Program:
        name = str(self.entry["model"])
        argv = worker_argv("echo", "--port", str(site.port), "--model", name)
        return Program(name=self.key.name, argv=argv, port=site.port, health_path="/health")


async def make(wanted: Wanted, fleet: Fleet) -> Runner:
    return Runner(fleet.node, Toy(wanted.key, wanted.spec), wanted.share)
