"""An engine that says only what is its own: a program, and the dialect that it speaks."""

from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.base import Engine
from tutti.engines.openai import Dialect
from tutti.engines.openai_requests import Server
from tutti.engines.place import Place
from tutti.process.child import worker_argv


class Toy(Engine):
    name = "toy"
    text = Dialect(lambda model: Server(model.name))

    def program(self, model: Model, place: Place) -> Program:
        argv = worker_argv("echo", "--port", str(place.port), "--model", model.name)
        return Program(name=model.name, argv=argv, port=place.port, health_path="/health")
