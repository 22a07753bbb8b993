"""The reference model's tokenizer: one token per printable ASCII character; other characters are encoded as bytes."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, BOS, USER, ASSISTANT, END = "<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>"
_SPECIAL = (PAD, BOS, USER, ASSISTANT, END)
_CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))

_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}{{- '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{%- else %}{{- '<|user|>' + message['content'] }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def build() -> PreTrainedTokenizerFast:
    """A standard fast tokenizer with 357 tokens: 5 special tokens, 256 bytes and 96 characters."""
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_CHARACTERS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    # A BPE model without merges encodes single characters, with byte fallback for unknown ones.
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token=None))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence([])
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = _TEMPLATE
    return fast
