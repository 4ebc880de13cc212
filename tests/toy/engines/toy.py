from tutti.engines.echo import Echo


class Toy(Echo):
    name = "toy"
