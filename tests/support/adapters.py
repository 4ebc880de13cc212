"""LoRA adapters as PEFT writes them, made up with numpy."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

SMOLLM2_SHAPES: Mapping[str, tuple[int, int]] = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
SMOLLM2_LAYERS = 30


def adapter(
    seed: int,
    shapes: Mapping[str, tuple[int, int]] = SMOLLM2_SHAPES,
    layers: int = SMOLLM2_LAYERS,
    rank: int = 4,
    size: float = 0.06,
    **config: object,
) -> dict[str, bytes]:
    """Make an adapter, and return its files by name. `size` is that of the noise in its weights: enough to
    change the model's answers."""
    noise = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(layers):
        for module, (outputs, inputs) in shapes.items():
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{prefix}.lora_A.weight"] = noise.normal(0, size, (rank, inputs)).astype(np.float32)
            tensors[f"{prefix}.lora_B.weight"] = noise.normal(0, size, (outputs, rank)).astype(np.float32)
    about = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["all-linear"], **config}
    return {"adapter_config.json": json.dumps(about).encode(), "adapter_model.safetensors": save(tensors)}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
