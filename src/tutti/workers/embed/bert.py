# pyright: basic
# onnx comes without types.
"""Builds the ONNX graph of a BERT sentence embedder from its safetensors weights, without torch.

`python -m tutti.workers.embed.bert FOLDER` reads config.json and model.safetensors, and if they exist
1_Pooling/config.json and modules.json, as sentence-transformers writes them (all-MiniLM, bge, e5, gte ...).
The graph's inputs are input_ids and attention_mask, of shape [texts, tokens]; its output is embedding, of
shape [texts, width].
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

GRAPH_FILE = "tutti-bert-1.onnx"  # raise the number when the graph that is built changes
_OPSET = 17
_IR_VERSION = 9
_MASKED = -1e9

Array = np.ndarray[Any, Any]


class NotBert(Exception):
    """The model has another architecture than this program can build. The message is for people."""


@dataclass(frozen=True)
class Shape:
    """The hyperparameters of a BERT encoder.

    `width` is the hidden size, `epsilon` that of the layer norms.
    """

    layers: int
    heads: int
    width: int
    epsilon: float
    pooling: str  # mean, cls or max
    normalised: bool


def read_shape(folder: Path) -> Shape:
    config = _json(folder / "config.json")
    if config.get("model_type") != "bert":
        raise NotBert(f"its architecture is {config.get('model_type')}, not bert")
    if config.get("hidden_act") != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise NotBert("its activation or its positions are of another kind")
    modules = folder / "modules.json"
    kinds = [module["type"] for module in _json(modules)] if modules.exists() else ["models.Normalize"]
    return Shape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        width=config["hidden_size"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        pooling=_pooling(folder / "1_Pooling" / "config.json"),
        normalised=any(kind.endswith("Normalize") for kind in kinds),
    )


def _pooling(path: Path) -> str:
    modes = _json(path) if path.exists() else {"pooling_mode_mean_tokens": True}
    chosen = [
        name for name in ("cls_token", "mean_tokens", "max_tokens") if modes.get(f"pooling_mode_{name}")
    ]
    if len(chosen) != 1:
        raise NotBert("its pooling is not one of mean, cls and max")
    return chosen[0].partition("_")[0]


def read_weights(folder: Path) -> dict[str, Array]:
    """Return the weights as float32, by name. The prefix `bert.` of some models is left out."""
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        return {name.removeprefix("bert."): file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118


class Graph:
    """An ONNX graph under construction.

    Each method adds nodes or constants, and returns the name of the result.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, array: Array) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        return self.constant(self._weights[name])

    def linear(self, x: str, name: str) -> str:
        product = self.node("MatMul", x, self.constant(self._weights[f"{name}.weight"].T))
        return self.node("Add", product, self.weight(f"{name}.bias"))

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def model(self, width: int) -> onnx.ModelProto:
        integers, floats = TensorProto.INT64, TensorProto.FLOAT
        inputs = [
            helper.make_tensor_value_info(name, integers, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", floats, ["texts", width])
        graph = helper.make_graph(self._nodes, "bert", inputs, [output], self._constants)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)


def build_graph(shape: Shape, weights: Mapping[str, Array]) -> onnx.ModelProto:
    graph = Graph(weights)
    x = _embeddings(graph, weights, shape)
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    padding = graph.node("Sub", graph.number(1.0), graph.node("Unsqueeze", mask, graph.integers(1, 2)))
    bias = graph.node("Mul", padding, graph.number(_MASKED))
    for layer in range(shape.layers):
        x = _layer(graph, x, bias, f"encoder.layer.{layer}", shape)
    x = _pooled(graph, x, graph.node("Unsqueeze", mask, graph.integers(2)), shape.pooling)
    if shape.normalised:
        graph.node("LpNormalization", x, output="embedding", axis=-1, p=2)
    else:
        graph.node("Identity", x, output="embedding")
    return graph.model(shape.width)


def _embeddings(graph: Graph, weights: Mapping[str, Array], shape: Shape) -> str:
    """Add the sum of word, position and token type embeddings, and its layer norm. All tokens have type 0."""
    length = graph.node("Gather", graph.node("Shape", "input_ids"), graph.integers(1))
    positions = (
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    x = graph.node("Add", words, graph.node("Slice", graph.constant(positions), graph.integers(0), length))
    return graph.layer_norm(x, "embeddings.LayerNorm", shape.epsilon)


def _layer(graph: Graph, x: str, bias: str, name: str, shape: Shape) -> str:
    attended = _attention(graph, x, bias, f"{name}.attention.self", shape)
    attended = graph.linear(attended, f"{name}.attention.output.dense")
    x = graph.layer_norm(graph.node("Add", x, attended), f"{name}.attention.output.LayerNorm", shape.epsilon)
    inner = _gelu(graph, graph.linear(x, f"{name}.intermediate.dense"))
    outer = graph.linear(inner, f"{name}.output.dense")
    return graph.layer_norm(graph.node("Add", x, outer), f"{name}.output.LayerNorm", shape.epsilon)


def _attention(graph: Graph, x: str, bias: str, name: str, shape: Shape) -> str:
    size = shape.width // shape.heads
    split = graph.integers(0, 0, shape.heads, size)
    query, key, value = (
        graph.node("Transpose", graph.node("Reshape", graph.linear(x, f"{name}.{part}"), split), perm=perm)
        for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
    )
    scores = graph.node("Mul", graph.node("MatMul", query, key), graph.number(size**-0.5))
    probabilities = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", probabilities, value), perm=[0, 2, 1, 3])
    return graph.node("Reshape", mixed, graph.integers(0, 0, shape.width))


def _gelu(graph: Graph, x: str) -> str:
    """Add the exact GELU: x/2 * (1 + erf(x / sqrt 2))."""
    erf = graph.node("Erf", graph.node("Mul", x, graph.number(2**-0.5)))
    half = graph.node("Mul", x, graph.number(0.5))
    return graph.node("Mul", half, graph.node("Add", graph.number(1.0), erf))


def _pooled(graph: Graph, x: str, mask: str, pooling: str) -> str:
    if pooling == "cls":
        return graph.node("Gather", x, graph.constant(np.array(0, np.int64)), axis=1)
    if pooling == "max":
        padding = graph.node("Mul", graph.node("Sub", graph.number(1.0), mask), graph.number(_MASKED))
        return graph.node("ReduceMax", graph.node("Add", x, padding), axes=[1], keepdims=0)
    total = graph.node("ReduceSum", graph.node("Mul", x, mask), graph.integers(1), keepdims=0)
    return graph.node("Div", total, graph.node("ReduceSum", mask, graph.integers(1), keepdims=0))


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def main() -> None:
    """Write the graph beside the weights. The file appears only when it is complete."""
    folder = Path(sys.argv[1])
    try:
        model = build_graph(read_shape(folder), read_weights(folder))
    except (NotBert, OSError, KeyError, ValueError) as error:
        sys.exit(f"tutti: {folder.name} cannot be made an embedder: {error!r}")
    partial = folder / f".{GRAPH_FILE}.{os.getpid()}"
    partial.write_bytes(model.SerializeToString())
    partial.replace(folder / GRAPH_FILE)


if __name__ == "__main__":
    main()
