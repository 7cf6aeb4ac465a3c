"""Small text networks of the pocket models: a word-level tokenizer and CLIP-shaped encoders, made to size.

These are transformers classes with small configurations, so any transformers program can load what is saved.
"""

from collections.abc import Sequence

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"  # ids 0 to 3; END must not be 2, which CLIP treats apart


def word_tokenizer(words: Sequence[str]):
    """A `PreTrainedTokenizerFast` whose tokens are the lower-case words given; other words become `<unk>`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([PAD, UNKNOWN, BEGIN, END, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex("[^a-z]+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, vocabulary[BEGIN]), (END, vocabulary[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=BEGIN, eos_token=END
    )


def text_config(vocabulary_size: int, *, width: int = 256, layers: int = 3, max_words: int = 20):
    """Configuration of a small CLIP text transformer."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=vocabulary_size, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, max_position_embeddings=max_words, projection_dim=width,
        pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
