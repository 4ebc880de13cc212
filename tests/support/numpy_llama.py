"""A random Llama or Qwen in the layout of transformers, and what it says, computed with numpy in float64.

This is the reference for our conversion: written from the papers' formulas, it shares no code with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Array = npt.NDArray[Any]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>")
HIDDEN, INNER, LAYERS, HEADS, HEADS_KV, HEAD = 64, 96, 2, 4, 2, 16


@dataclass(frozen=True)
class Tiny:
    config: Mapping[str, Any]
    weights: Mapping[str, Array]

    def files(self) -> dict[str, bytes]:
        """Return the model's files as a repository has them."""
        return {
            "config.json": json.dumps(self.config).encode(),
            "model.safetensors": save({name: it.astype(np.float32) for name, it in self.weights.items()}),
            "tokenizer.json": tokenizer().to_str().encode(),
            "tokenizer_config.json": json.dumps(
                {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "chat_template": TEMPLATE}
            ).encode(),
        }

    def logprobs(self, ids: list[int], lora: Mapping[str, Array] | None = None) -> Array:
        """Return the log probabilities of the token after `ids`. `lora` is added to weights, by module."""
        w = {name: it.astype(np.float64) for name, it in self.weights.items()}
        for module, delta in (lora or {}).items():
            w[f"{module}.weight"] = w[f"{module}.weight"] + delta
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(LAYERS):
            x = self._layer(x, w, f"model.layers.{layer}.")
        logits = _norm(x, w["model.norm.weight"])[-1] @ w["lm_head.weight"].T
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    def _layer(self, x: Array, w: Mapping[str, Array], p: str) -> Array:
        h = _norm(x, w[p + "input_layernorm.weight"])
        q, k, v = (self._heads(h, w, f"{p}self_attn.{name}") for name in ("q_proj", "k_proj", "v_proj"))
        if p + "self_attn.q_norm.weight" in w:
            q, k = _norm(q, w[p + "self_attn.q_norm.weight"]), _norm(k, w[p + "self_attn.k_norm.weight"])
        q, k = self._rotated(q), self._rotated(k)
        k, v = np.repeat(k, HEADS // HEADS_KV, 0), np.repeat(v, HEADS // HEADS_KV, 0)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(HEAD)
        scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ v
        x = x + mixed.swapaxes(0, 1).reshape(len(x), -1) @ w[p + "self_attn.o_proj.weight"].T
        h = _norm(x, w[p + "post_attention_layernorm.weight"])
        gate = h @ w[p + "mlp.gate_proj.weight"].T
        return (
            x
            + (gate / (1 + np.exp(-gate)) * (h @ w[p + "mlp.up_proj.weight"].T))
            @ w[p + "mlp.down_proj.weight"].T
        )

    def _heads(self, h: Array, w: Mapping[str, Array], name: str) -> Array:
        out = h @ w[name + ".weight"].T + w.get(name + ".bias", 0.0)
        return out.reshape(len(h), -1, HEAD).swapaxes(0, 1)

    def _rotated(self, x: Array) -> Array:
        rates = self.config["rope_theta"] ** (-np.arange(0, HEAD, 2) / HEAD) / self._factors()
        angles = np.arange(x.shape[1])[:, None] * rates
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = x[..., : HEAD // 2], x[..., HEAD // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    def _factors(self) -> Array:
        scaling = self.config.get("rope_scaling")
        if not scaling:
            return np.ones(HEAD // 2)
        factors = []
        for rate in self.config["rope_theta"] ** (-np.arange(0, HEAD, 2) / HEAD):
            turns = scaling["original_max_position_embeddings"] * rate / (2 * np.pi)
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            share = np.clip((turns - low) / (high - low), 0, 1)
            factors.append(1 / ((1 - share) / scaling["factor"] + share))
        return np.array(factors)


def tiny(architecture: str = "LlamaForCausalLM", seed: int = 0, **config: Any) -> Tiny:
    noise = np.random.default_rng(seed)
    words = tokenizer().get_vocab_size()
    weights: dict[str, Array] = {
        "model.embed_tokens.weight": noise.normal(0, 1, (words, HIDDEN)),
        "lm_head.weight": noise.normal(0, 0.3, (words, HIDDEN)),
        "model.norm.weight": noise.uniform(0.5, 1.5, HIDDEN),
    }
    outputs = {"q_proj": HEADS * HEAD, "k_proj": HEADS_KV * HEAD, "v_proj": HEADS_KV * HEAD}
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{p}{name}.weight"] = noise.uniform(0.5, 1.5, HIDDEN)
        for name, size in outputs.items():
            weights[f"{p}self_attn.{name}.weight"] = noise.normal(0, 0.2, (size, HIDDEN))
            if architecture == "Qwen2ForCausalLM":
                weights[f"{p}self_attn.{name}.bias"] = noise.normal(0, 0.5, size)
        if architecture == "Qwen3ForCausalLM":
            weights[f"{p}self_attn.q_norm.weight"] = noise.uniform(0.5, 1.5, HEAD)
            weights[f"{p}self_attn.k_norm.weight"] = noise.uniform(0.5, 1.5, HEAD)
        weights[f"{p}self_attn.o_proj.weight"] = noise.normal(0, 0.2, (HIDDEN, HEADS * HEAD))
        weights[f"{p}mlp.gate_proj.weight"] = noise.normal(0, 0.2, (INNER, HIDDEN))
        weights[f"{p}mlp.up_proj.weight"] = noise.normal(0, 0.2, (INNER, HIDDEN))
        weights[f"{p}mlp.down_proj.weight"] = noise.normal(0, 0.2, (HIDDEN, INNER))
    about = {
        "architectures": [architecture],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS_KV,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": words,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    }
    return Tiny({**about, **config}, weights)


def tokenizer(pre: pre_tokenizers.PreTokenizer | None = None, *, whole_words: bool = False) -> Tokenizer:
    """GPT-2's rules of splitting unless told others; the merges are such that rules make a difference."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("1", "2"), ("Ã", "©")]
    merges += [
        ("12", "3"),
        ("123", "4"),
        ("Ġ", "12"),
        ("!", "Ċ"),
        ("Ċ", "Ċ"),
        ("'", "S"),
        ("e", "A"),
        ("!", "/"),
    ]
    tokens = [*SPECIAL, *letters, *(a + b for a, b in merges)]
    numbers = {text: place for place, text in enumerate(tokens)}
    made = Tokenizer(models.BPE(numbers, merges, ignore_merges=whole_words))
    made.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    return made


def _norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight
