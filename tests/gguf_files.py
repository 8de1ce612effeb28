"""GGUF files of tiny models, written as llama.cpp's converter writes them."""

from pathlib import Path

import gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(file: Path, model: Path, architecture: str = "qwen2") -> Path:
    """Write a tiny Qwen2 with its matrices in blocks of 8 bits (Q8_0).

    Args:
        file: Where to.
        model: Its folder.
        architecture: What the file says that it is.
    """
    tokenizer, source = (
        AutoTokenizer.from_pretrained(model),
        AutoModelForCausalLM.from_pretrained(model),
    )
    config, writer = source.config, gguf.GGUFWriter(str(file), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    # A file has to hold a merge; this one's letters stand in no text of the tests.
    tokens = [token for token, _ in vocabulary] + ["þà", "<|endoftext|>"]
    tokens += [f"<unused{n}>" for n in range(config.vocab_size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["þ à"])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    for name, value in source.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer.startswith("model.layers."):
            _, _, number, own = layer.split(".", 3)
            own = f"blk.{number}.{_LAYER[own]}"
        else:
            own = _WHOLE[layer]
        data, dtype = value.numpy(), gguf.GGMLQuantizationType.F32
        if data.ndim == 2:
            dtype = gguf.GGMLQuantizationType.Q8_0
            data = gguf.quantize(data, dtype)
        writer.add_tensor(f"{own}.{kind}", data, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
