"""Model folders that must be refused: (name, file, content, words of the message).

The content is a text or bytes, fields that replace those of config.json, or a function of the path. None of it is code.
"""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Content = str | bytes | dict[str, Any] | Callable[[Path], None]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DEEP = "[" * 100_000 + "]" * 100_000


def header(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header, whatever it says."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, end: int, shape: list[Any], dtype: Any = "F32") -> dict[str, Any]:
    """An entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def in_shards(file: Any, **more: Any) -> Callable[[Path], None]:
    """Replace the weight file by an index whose only entry names `file`."""

    def write(path: Path) -> None:
        (path.parent / WEIGHTS).rename(path.parent / "part.safetensors")
        path.write_text(json.dumps({"weight_map": {"lm_head.weight": file}} | more))

    return write


def folder(path: Path) -> None:
    """A folder in place of the file."""
    path.unlink(missing_ok=True)
    path.mkdir()


def pipe(path: Path) -> None:
    """A named pipe in place of the file, which blocks whoever opens it."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    """A link to a device that never ends."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    """A file of two gibibytes that takes no space."""
    with path.open("wb") as stream:
        stream.truncate(2 << 30)


def renamed(name: str) -> Callable[[Path], None]:
    """The weights under another name."""

    def move(path: Path) -> None:
        path.rename(path.with_name(name))

    return move


MODELS: list[tuple[str, str, Content, str]] = [
    ("config is half", CONFIG, "{", "config.json is not valid JSON: Expecting property name enclosed in double"),
    ("config is a list", CONFIG, "[]", "config.json is not a JSON object but a list"),
    ("config is nested", CONFIG, DEEP, "config.json is nested deeper than 100 levels"),
    ("config has 5000 digits", CONFIG, '{"a": ' + "1" * 5000 + "}", "config.json contains an integer of 5,000"),
    ("config is not UTF-8", CONFIG, b"\xff\xfe{}", "config.json is not UTF-8: byte 1 is 0xff"),
    ("config has a surrogate", CONFIG, '{"model_type": "\\ud800"}', "config.json contains the lone surrogate"),
    ("config is a folder", CONFIG, folder, "cannot read M/config.json: it is a folder, not a file"),
    ("config is a pipe", CONFIG, pipe, "cannot read M/config.json: it is not a regular file"),
    ("config is endless", CONFIG, endless, "cannot read M/config.json: it is not a regular file"),
    ("config is huge", CONFIG, sparse, "config.json is too large: 2,147,483,648 bytes, maximum 67,108,864"),
    ("config without type", CONFIG, "{}", "config.json has no model_type"),
    ("type is a list", CONFIG, {"model_type": ["llama"]}, "config.json is invalid: model_type is ['llama'], not a"),
    ("type is a number", CONFIG, {"model_type": 5}, "config.json is invalid: model_type is 5, not a string"),
    ("type has control characters", CONFIG, {"model_type": "\x1b[2J\x07"}, "has the model type '\\x1b[2J\\x07', for"),
    ("type of another class", CONFIG, {"model_type": "bert-japanese"}, "has the model type 'bert-japanese', for"),
    ("depth 0", CONFIG, {"num_hidden_layers": 0}, "config.json is invalid: num_hidden_layers is 0, not a whole"),
    ("depth -1", CONFIG, {"num_hidden_layers": -1}, "config.json is invalid: num_hidden_layers is -1, not a whole"),
    ("depth text", CONFIG, {"num_hidden_layers": "4"}, "config.json is invalid: num_hidden_layers is '4', not a"),
    ("depth 4.0", CONFIG, {"num_hidden_layers": 4.0}, "config.json is invalid: num_hidden_layers is 4.0, not a"),
    ("depth true", CONFIG, {"num_hidden_layers": True}, "config.json is invalid: num_hidden_layers is True, not a"),
    ("depth a million", CONFIG, {"num_hidden_layers": 1_000_000}, "config.json is invalid: num_hidden_layers is"),
    ("depth 10^30", CONFIG, {"num_hidden_layers": 10**30}, "config.json is invalid: num_hidden_layers is"),
    ("depth one more", CONFIG, {"num_hidden_layers": 7}, "weights missing for layer 6: config.json has"),
    ("depth one less", CONFIG, {"num_hidden_layers": 5}, "unexpected weights for layer 5"),
    ("width text", CONFIG, {"hidden_size": "wide"}, "'hidden_size' expected int, got str"),
    ("width 0", CONFIG, {"hidden_size": 0}, "has shape (357, 32) in the file, but (357, 0) in config.json"),
    ("width huge", CONFIG, {"hidden_size": 10**15}, "lm_head.weight has shape (357, 32) in the file, but (357,"),
    ("heads 0", CONFIG, {"num_attention_heads": 0}, "config.json is invalid: integer modulo by zero"),
    ("heads that do not divide", CONFIG, {"num_attention_heads": 5}, "not a multiple of the number of attention"),
    ("vocabulary huge", CONFIG, {"vocab_size": 10**18}, "cannot load"),
    ("vocabulary negative", CONFIG, {"vocab_size": -1}, "cannot load"),
    ("activation unknown", CONFIG, {"hidden_act": "__import__"}, "__import__"),
    ("rope unknown", CONFIG, {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1.0}}, "spiral"),
    ("quantization is a text", CONFIG, {"quantization_config": "4 bits"}, "is already quantized ('4 bits'):"),
    ("quantization is a list", CONFIG, {"quantization_config": [4]}, "is already quantized ([4]): removing layers"),
    ("quantization beside", "quantize_config.json", '{"bits": 4}', "is already quantized (it has a"),
    ("attention of another package", CONFIG, {"_attn_implementation": "flash_attention_2"}, "FlashAttention2"),
    ("end token is a text", CONFIG, {"eos_token_id": "end"}, "Validation error for field 'eos_token_id'"),
    (
        "remote code",
        CONFIG,
        {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Mine"}},
        "has the model type 'mine', for which transformers has no causal language model",
    ),
    ("generation settings are a list", "generation_config.json", "[]", "generation_config.json is not a JSON object"),
    ("generation settings are half", "generation_config.json", "{", "generation_config.json is not valid JSON:"),
    ("generation settings are a folder", "generation_config.json", folder, "cannot read M/generation_config.json:"),
    ("tokenizer is half", "tokenizer.json", "{", "failed to load the tokenizer from"),
    ("tokenizer is a list", "tokenizer.json", "[]", "failed to load the tokenizer from"),
    ("tokenizer is nested", "tokenizer.json", DEEP, "failed to load the tokenizer from"),
    ("tokenizer is a pipe", "tokenizer.json", pipe, "cannot read M/tokenizer.json: it is not a regular file"),
    ("tokenizer is huge", "tokenizer.json", sparse, "tokenizer.json is too large: 2,147,483,648 bytes, maximum"),
    ("tokenizer without model", "tokenizer.json", '{"version": "1.0"}', "failed to load the tokenizer from"),
    ("tokenizer settings are a list", "tokenizer_config.json", "[]", "tokenizer_config.json is not a JSON object"),
    ("tokenizer settings are nested", "tokenizer_config.json", DEEP, "tokenizer_config.json is nested deeper than"),
    ("special tokens are a number", "special_tokens_map.json", "5", "special_tokens_map.json is not a JSON object"),
    ("template is a folder", "chat_template.jinja", folder, "cannot read M/chat_template.jinja: it is a folder, not"),
    ("template is endless", "chat_template.jinja", endless, "cannot read M/chat_template.jinja: it is not a regular"),
    ("template is half", "chat_template.jinja", "{% for", "the chat template of M failed: unexpected 'end of"),
    (
        "template rejects",
        "chat_template.jinja",
        "{{ raise_exception('system turn needed') }}",
        "the chat template of M failed: system turn needed",
    ),
    ("template divides by zero", "chat_template.jinja", "{{ 1 / 0 }}", "the chat template of M failed: division by"),
    (
        "template leaves the sandbox",
        "chat_template.jinja",
        "{{ messages.__class__.__mro__ }}",
        "the chat template of M failed: access to attribute '__class__' of 'list' object is unsafe.",
    ),
    ("template with a power", "chat_template.jinja", "{{ 9**9**9 }}", "the chat template of M computes a power"),
    (
        "template without the question",
        "chat_template.jinja",
        "Hello{{ messages | length }}",
        "the chat template of M leaves out the text of the question",
    ),
    ("weights are empty", WEIGHTS, b"", "is not a safetensors file: it has 0 bytes"),
    ("weights are text", WEIGHTS, "these are not weights", "is not a safetensors file: its header would have"),
    ("weights are a pipe", WEIGHTS, pipe, "cannot read M/model.safetensors: it is not a regular file"),
    ("weights are a folder", WEIGHTS, folder, "cannot read M/model.safetensors: it is a folder, not a file"),
    ("weights are endless", WEIGHTS, endless, "cannot read M/model.safetensors: it is not a regular file"),
    ("weights are a pickle", WEIGHTS, renamed("pytorch_model.bin"), "has no safetensors weights (only"),
    ("weights are a pt file", WEIGHTS, renamed("model.pt"), "has no safetensors weights (only model.pt, a pickle"),
    ("weights are a pth file", WEIGHTS, renamed("consolidated.00.pth"), "has no safetensors weights (only"),
    ("weights are gguf", WEIGHTS, renamed("model.gguf"), "(only model.gguf, another format)"),
    ("weights under another name", WEIGHTS, renamed("adapter_model.safetensors"), "cannot load"),
    ("header longer than the file", WEIGHTS, header({}, length=10_000), "model.safetensors is truncated: 10 bytes,"),
    ("header of 2^63 bytes", WEIGHTS, header({}, length=1 << 63), "its header would have 9,223,372,036,854,775,808"),
    ("header is a list", WEIGHTS, header([]), "its header is not a JSON object"),
    ("header is nested", WEIGHTS, header(b'{"a":' + DEEP.encode() + b"}"), "its header is nested too deeply"),
    ("header is empty", WEIGHTS, header({}), "config.json is invalid: num_hidden_layers is 6, but the weight files"),
    ("header repeats a name", WEIGHTS, header(b'{"a": 1, "a": 2}'), "its header has a name twice"),
    ("metadata are numbers", WEIGHTS, header({"__metadata__": {"a": 1}}), "its metadata are not texts"),
    ("tensor is a number", WEIGHTS, header({"a": 1}), "the dtype, shape or offsets of 'a' are invalid"),
    (
        "tensor without shape",
        WEIGHTS,
        header({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"),
        "the dtype, shape or offsets of 'a' are invalid",
    ),
    ("tensor of a negative size", WEIGHTS, header({"a": tensor(0, 4, [-1])}, b"1234"), "the dtype, shape or offsets"),
    ("tensor of size true", WEIGHTS, header({"a": tensor(0, 4, [True])}, b"1234"), "offsets of 'a' are invalid"),
    ("tensor ends before it starts", WEIGHTS, header({"a": tensor(4, 0, [1])}, b"1234"), "model.safetensors is"),
    ("tensor behind the end", WEIGHTS, header({"a": tensor(0, 400, [100])}, b"1234"), "model.safetensors is"),
    (
        "tensors overlap",
        WEIGHTS,
        header({"a": tensor(0, 4, [1]), "b": tensor(0, 4, [1])}, b"1234"),
        "model.safetensors is damaged: b is at bytes 0 to 4, but the tensor before it ends at 4",
    ),
    (
        "tensors leave a gap",
        WEIGHTS,
        header({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}, b"1" * 12),
        "model.safetensors is damaged: b is at bytes 8 to 12, but the tensor before it ends at 4",
    ),
    (
        "tensor too large for its bytes",
        WEIGHTS,
        header({"a": tensor(0, 4, [1 << 40])}, b"1234"),
        "model.safetensors is damaged: a has 4 bytes, but F32 of shape (1099511627776,) needs 4,398",
    ),
    (
        "type of a tensor is a list",
        WEIGHTS,
        header({"a": tensor(0, 4, [1], ["F32"])}, b"1234"),
        "offsets of 'a' are invalid",
    ),
    ("tensor of another model", WEIGHTS, header({"a": tensor(0, 4, [1])}, b"1234"), "config.json is invalid:"),
    (
        "bytes after the last tensor",
        WEIGHTS,
        header({"a": tensor(0, 4, [1])}, b"12345678"),
        "model.safetensors is damaged: 77 bytes, expected 73",
    ),
    ("index leaves the folder", INDEX, in_shards("../part.safetensors"), "'../part.safetensors', which is outside"),
    ("index names an absolute path", INDEX, in_shards("/etc/passwd"), "'/etc/passwd', which is outside the model"),
    ("index names a pickle", INDEX, in_shards("pytorch_model.bin"), "model.safetensors.index.json: lm_head.weight"),
    ("index names a number", INDEX, in_shards(5), "model.safetensors.index.json: the file of lm_head.weight is a"),
    ("index names a missing file", INDEX, in_shards("gone.safetensors"), "does not contain 1 of its 1 weight files:"),
    ("index with a NUL", INDEX, in_shards("a\0.safetensors"), "model.safetensors.index.json: lm_head.weight is in"),
    ("index of a list", INDEX, in_shards("part.safetensors", metadata=[1]), "model.safetensors.index.json is not an"),
    ("index without a map", INDEX, in_shards("a", weight_map=None), "model.safetensors.index.json is not an index"),
    ("index with an empty map", INDEX, in_shards("a", weight_map={}), "model.safetensors.index.json is not an index"),
]
