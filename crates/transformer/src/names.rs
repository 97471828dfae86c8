//! The names of tensors in the files of every family.

use crate::assemble::{LayerPart, Part};
use crate::config::Family;

/// What stands in front of everything but the head.
pub(crate) fn base(family: Family) -> &'static str {
    match family {
        Family::Gpt2 => "transformer.",
        Family::GptNeoX => "gpt_neox.",
        _ => "model.",
    }
}

/// The name of a part, without `.weight` or `.bias` behind it.
pub(crate) fn name(family: Family, part: Part) -> String {
    let base = base(family);
    match part {
        Part::Output if family == Family::GptNeoX => "embed_out".to_owned(),
        Part::Output => "lm_head".to_owned(),
        Part::Embedding => match family {
            Family::Gpt2 => format!("{base}wte"),
            Family::GptNeoX => format!("{base}embed_in"),
            _ => format!("{base}embed_tokens"),
        },
        Part::Positions => format!("{base}wpe"),
        Part::FinalNorm => match family {
            Family::Gpt2 => format!("{base}ln_f"),
            Family::GptNeoX => format!("{base}final_layer_norm"),
            _ => format!("{base}norm"),
        },
        Part::Layer(index, part) => {
            let layers = if family == Family::Gpt2 { "h" } else { "layers" };
            format!("{base}{layers}.{index}.{}", layer_name(family, part))
        }
    }
}

fn layer_name(family: Family, part: LayerPart) -> &'static str {
    match family {
        Family::Gpt2 => gpt2(part),
        Family::GptNeoX => gpt_neox(part),
        Family::Gemma3 => gemma(part),
        _ => llama(part),
    }
}

fn llama(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "input_layernorm",
        LayerPart::Query => "self_attn.q_proj",
        LayerPart::Key => "self_attn.k_proj",
        LayerPart::Value => "self_attn.v_proj",
        LayerPart::QueryKeyValue => "self_attn.qkv_proj",
        LayerPart::QueryNorm => "self_attn.q_norm",
        LayerPart::KeyNorm => "self_attn.k_norm",
        LayerPart::AttentionOutput => "self_attn.o_proj",
        LayerPart::AttentionOutputNorm => "post_self_attn_layernorm",
        LayerPart::FeedForwardNorm => "post_attention_layernorm",
        LayerPart::Gate => "mlp.gate_proj",
        LayerPart::Up => "mlp.up_proj",
        LayerPart::Down => "mlp.down_proj",
        LayerPart::FeedForwardOutputNorm => "post_feedforward_layernorm",
    }
}

/// The norm behind attention has the name that Llama's norm in front of the feed-forward block has.
fn gemma(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionOutputNorm => "post_attention_layernorm",
        LayerPart::FeedForwardNorm => "pre_feedforward_layernorm",
        other => llama(other),
    }
}

fn gpt2(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "ln_1",
        LayerPart::QueryKeyValue => "attn.c_attn",
        LayerPart::AttentionOutput => "attn.c_proj",
        LayerPart::FeedForwardNorm => "ln_2",
        LayerPart::Up => "mlp.c_fc",
        LayerPart::Down => "mlp.c_proj",
        other => llama(other),
    }
}

fn gpt_neox(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "input_layernorm",
        LayerPart::QueryKeyValue => "attention.query_key_value",
        LayerPart::AttentionOutput => "attention.dense",
        LayerPart::FeedForwardNorm => "post_attention_layernorm",
        LayerPart::Up => "mlp.dense_h_to_4h",
        LayerPart::Down => "mlp.dense_4h_to_h",
        other => llama(other),
    }
}

/// True for what older files hold besides the weights: masks and frequencies, which follow from the configuration.
pub(crate) fn is_derived(name: &str) -> bool {
    [
        "rotary_emb.inv_freq",
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}
