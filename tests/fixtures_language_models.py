"""Real architectures with small random weights and their true chat templates, built here: nothing is fetched."""

from pathlib import Path
from typing import Any

CHATML = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'video' -%}<|video_pad|>"
    "{%- elif part.type == 'image' -%}<|image_pad|>"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)
IMAGE_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}


def tokenizer(vocabulary: int = 800) -> Any:
    """Byte-level BPE, learnt from the prompts of the house."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = ["<pad>", "<|im_start|>", "<|im_end|>", *IMAGE_TOKENS.values()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet)
    texts = (Path(__file__).parents[1] / "captioning" / "llm" / "prompts").glob("*.md")
    bpe.train_from_iterator([path.read_text() for path in sorted(texts)], trainer)
    fast_tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        extra_special_tokens=IMAGE_TOKENS,
    )
    fast_tokenizer.chat_template = CHATML
    return fast_tokenizer


def llama_config(words: Any, **more: Any) -> Any:
    """Configuration of a Llama of two layers for a tokenizer."""
    import transformers

    return transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **more,
    )


def tiny_llama(folder: Path, *, context: int = 4096) -> Path:
    """A language model of 0.2 million weights."""
    import torch
    import transformers

    words = tokenizer()
    torch.manual_seed(0)
    config = llama_config(words, max_position_embeddings=context, bos_token_id=None)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def tiny_minicpm(folder: Path) -> Path:
    """MiniCPM-V 4.6 with 0.4 million weights: its image and video processors, its resampler, its hybrid layers."""
    import torch
    import transformers

    words = tokenizer()
    torch.manual_seed(0)
    text = {
        "model_type": "qwen3_5_text",
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.MiniCPMV4_6Config(
        text_config=text,
        vision_config=vision | {"image_size": 112, "patch_size": 14},
        insert_layer_id=0,
        image_size=112,
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
    )
    transformers.MiniCPMV4_6ForConditionalGeneration(config).save_pretrained(folder)
    looks = {"patch_size": 14, "scale_resolution": 112, "max_slice_nums": 1, "slice_mode": False}
    transformers.MiniCPMV4_6Processor(
        image_processor=transformers.MiniCPMV4_6ImageProcessor(**looks),
        video_processor=transformers.MiniCPMV4_6VideoProcessor(**looks),
        tokenizer=words,
        chat_template=CHATML,
    ).save_pretrained(folder)
    return folder


def tiny_llava(folder: Path) -> Path:
    """LLaVA with 0.2 million weights: takes frames as images, and needs no torchvision."""
    import torch
    import transformers

    words = tokenizer()
    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=32,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=llama_config(words, max_position_embeddings=4096),
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        vision_feature_layer=-1,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token="<|image_pad|>",
        num_additional_image_tokens=1,
        chat_template=CHATML,
    ).save_pretrained(folder)
    return folder
