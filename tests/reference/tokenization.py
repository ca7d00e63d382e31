"""What transformers makes of texts and of tokens, by what the files of a tokenizer say.

    python tests/reference/tokenization.py        # with requirements.txt; writes tokenization.json

Each case is a folder with one of some small tokenizers, a config.json that names the model_type, and what the case adds:
a tokenizer_config.json and its like. Stored are the ids of each text and what these decode to; or the error.
"""

import json
import pathlib
import tempfile

import transformers
from tokenizers.pre_tokenizers import ByteLevel

HERE = pathlib.Path(__file__).parent
TEXTS = [
    "", "hello world", " two  spaces ", "  hello", "<s>hello</s> world <s> x", "<|endoftext|>hello<|endoftext|> world",
    "naïve 🦀 12345", "cafe\u0301 LoUDHe'LL/\n", "it's 2024. hello , n't\n\n x", "<new>hello <new> hello<new>", "ashellow <s>", "<unk>é",
]
WORDS = ["he", "ll", "hell", "hello", "wo", "wor", "worl", "world", "12", "123", "20", "24", "2024"]
MERGES = ["h e", "l l", "he ll", "hell o", "w o", "wo r", "wor l", "worl d", "1 2", "12 3", "2 0", "2 4", "20 24"]
BEHIND = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# As Llama 3, Qwen 2, GPT-4o and newer models of Mistral split texts.
SPLITS = {
    "llama3": CUT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BEHIND,
    "qwen2": CUT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BEHIND,
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CUT}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CUT}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + BEHIND,
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + BEHIND,
}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}


def added(id, content, **flags):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content, **plain, **flags}


def begins_with(id, token):
    special = {"id": token, "ids": [id], "tokens": [token]}
    single = [{"SpecialToken": {"id": token, "type_id": 0}}, TEXT]
    return {
        "type": "TemplateProcessing", "single": single, "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: special},
    }


def byte_level(**flags):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **flags}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def split(name):
    return sequence(
        {"type": "Split", "pattern": {"Regex": SPLITS[name]}, "behavior": "Isolated", "invert": False},
        byte_level(use_regex=False),
    )


def tokenizer(tokens, merges, special, **parts):
    vocabulary = {token: id for id, token in enumerate(tokens)}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": merges,
    }
    model.update(parts.pop("model", {}))
    whole = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(vocabulary[token], token) for token in special],
        "normalizer": None, "pre_tokenizer": byte_level(), "post_processor": None, "decoder": byte_level(), "model": model,
    }
    return {**whole, **parts}


LETTERS = sorted(ByteLevel.alphabet())
BYTES = [*LETTERS, *WORDS, "Ġ2024", "Ġhello"]
BYTE_MERGES = [*MERGES, "Ġ 2024", "Ġ hello"]
PIECES = [
    "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *(chr(c) for c in range(33, 127)), "▁", *WORDS,
    "▁hello", "▁▁",
]
GEMMA_PIECES = ["<pad>", "<eos>", "<bos>", *PIECES[:1], "<mask>", "<s>", *PIECES[3:], "<new>"]
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
TOKENIZERS = {
    "gpt2": tokenizer([*BYTES, "<|endoftext|>", "<s>", "<new>"], BYTE_MERGES, ["<|endoftext|>"]),
    "digits": tokenizer(
        [*BYTES, "<|endoftext|>", "<s>", "<new>"], BYTE_MERGES, ["<|endoftext|>", "<s>"],
        pre_tokenizer=sequence({"type": "Digits", "individual_digits": True}, byte_level()),
    ),
    "llama3": tokenizer(
        [*BYTES, "ashellow", "<|endoftext|>", "<s>", "</s>", "<new>"], BYTE_MERGES, ["<s>", "</s>"],
        pre_tokenizer=split("llama3"), post_processor=begins_with(len(BYTES) + 2, "<s>"), model={"ignore_merges": True},
    ),
    "llama2": tokenizer(
        [*PIECES, "<new>"], [*MERGES, "▁ hello", "▁ ▁"], ["<unk>", "<s>", "</s>"],
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]},
        pre_tokenizer=None, post_processor=begins_with(1, "<s>"),
        decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        model={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
    ),
    "qwen2": tokenizer(
        [*BYTES, "<|endoftext|>", "<s>", "<new>"], BYTE_MERGES, ["<|endoftext|>", "<s>"], normalizer={"type": "NFC"},
        pre_tokenizer=split("qwen2"), post_processor=byte_level(trim_offsets=False),
    ),
    "o200k": tokenizer([*BYTES, "<|endoftext|>", "<s>", "<new>"], BYTE_MERGES, ["<s>"], pre_tokenizer=split("o200k")),
    "tekken": tokenizer([*BYTES, "<|endoftext|>", "<s>", "<new>"], BYTE_MERGES, ["<s>"], pre_tokenizer=split("tekken")),
    "gemma": tokenizer(
        GEMMA_PIECES, [*MERGES, "▁ hello", "▁ ▁"], ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], normalizer=REPLACE,
        pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        post_processor=begins_with(2, "<bos>"),
        decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        ]},
        model={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
    ),
    "neox": tokenizer(
        ["<|endoftext|>", "<|padding|>", *BYTES, "<s>", "<new>"], BYTE_MERGES, ["<|endoftext|>", "<|padding|>"],
        normalizer={"type": "NFC"}, post_processor=begins_with(0, "<|endoftext|>"),
    ),
}
PLAIN = {key: False for key in ["single_word", "lstrip", "rstrip", "normalized"]}
STRIPPED = {"content": "<new>", **PLAIN, "lstrip": True, "rstrip": True, "special": True}
NEXT = len(TOKENIZERS["llama3"]["model"]["vocab"])


def token(**keys):
    return {"content": "<new>", **PLAIN, "special": True, **keys}


# Changes of tokenizer_config.json, each made to all kinds of tokenizers and classes.
CHANGES = [
    {}, {"add_prefix_space": True}, {"add_prefix_space": False}, {"add_prefix_space": None},
    {"add_bos_token": True, "bos_token": "<s>"}, {"add_eos_token": True, "eos_token": "<s>"},
    {"add_bos_token": False}, {"legacy": True}, {"legacy": False}, {"legacy": None},
    {"split_special_tokens": True}, {"split_special_tokens": False},
    {"clean_up_tokenization_spaces": True},
    {"clean_up_tokenization_spaces": True, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True},
    {"bos_token": None, "eos_token": None, "unk_token": None},
    {"unk_token": "<new>"}, {"bos_token": "<new>"}, {"eos_token": "<later>"}, {"pad_token": "<new>", "sep_token": "<later>"},
    {"bos_token": token(lstrip=True)}, {"bos_token": {"__type": "AddedToken", **token(lstrip=True)}},
    {"bos_token": {"__type": "AddedToken", **token(special=False, normalized=True)}}, {"bos_token": 1},
    {"image_token": "<new>"}, {"image_token": "<later>", "audio_token": "<new>"}, {"image_token": True},
    {"additional_special_tokens": ["<new>"]}, {"additional_special_tokens": []}, {"extra_special_tokens": ["<new>", "<later>"]},
    {"additional_special_tokens": ["<new>"], "extra_special_tokens": ["<later>"]},
    {"additional_special_tokens": ["<new>"], "extra_special_tokens": []},
    {"extra_special_tokens": {"image": "<new>"}}, {"extra_special_tokens": [token()]},
    {"extra_special_tokens": [{"__type": "AddedToken", **STRIPPED}]}, {"extra_special_tokens": "<new>"},
    {"additional_special_tokens": None, "extra_special_tokens": None},
    {"model_specific_special_tokens": {"x": "<new>"}},
    {"added_tokens_decoder": {}}, {"added_tokens_decoder": {"0": STRIPPED}}, {"added_tokens_decoder": {"9": token(special=False)}},
    {"added_tokens_decoder": {"9": token(special=False, normalized=True, single_word=True)}, "bos_token": "<new>"},
    {"added_tokens_decoder": {str(NEXT): {"content": "<later>", **PLAIN, "special": False}, "7": token(rstrip=True)}},
    {"added_tokens_decoder": {"9": {"content": "<s>", **PLAIN, "lstrip": True, "special": True}}},
    {"added_tokens_decoder": {"9": {"content": "<s>", **PLAIN, "normalized": True, "special": False}}},
    {"added_tokens_decoder": {"9": "<new>"}}, {"added_tokens_decoder": {"9": {"content": "<new>"}}},
    {"added_tokens_decoder": None}, {"added_tokens_decoder": {"9": {"content": ""}}},
    {"fix_mistral_regex": True}, {"auto_map": {"AutoTokenizer": ["x.X", None]}}, {"auto_map": None}, {"init_inputs": ["x"]},
    {"init_inputs": []}, {"tokenizer_file": None}, {"tokenizer_file": "elsewhere.json"}, {"vocab_file": "elsewhere"},
    {"merges_file": "elsewhere"}, {"vocab": {"a": 0}}, {"merges": []}, {"tokenizer_object": None}, {"post_processor": None},
    {"fast_tokenizer_files": ["tokenizer.json"]}, {"fast_tokenizer_files": None},
    {"model_max_length": 4}, {"model_max_length": 1e30}, {"max_len": 4}, {"max_length": 4}, {"stride": 1},
    {"truncation": True}, {"truncation_side": "left"}, {"truncation_side": "up"}, {"truncation_strategy": "longest_first"},
    {"padding_side": "left"}, {"padding": True}, {"pad_to_multiple_of": 8}, {"pad_token_type_id": 3}, {"pad_token_id": 3},
    {"model_input_names": ["input_ids"]}, {"model_input_names": ["attention_mask"]}, {"model_input_names": None},
    {"errors": "ignore"}, {"name_or_path": "x"}, {"special_tokens_map_file": "/x"}, {"sp_model_kwargs": {}},
    {"use_default_system_prompt": True}, {"processor_class": "X"}, {"return_token_type_ids": False}, {"use_fast": False},
    {"is_local": False}, {"local_files_only": True}, {"backend": "tokenizers"}, {"backend": "x"}, {"from_slow": True},
    {"trust_remote_code": True}, {"spaces_between_special_tokens": True}, {"verbose": True}, {"_commit_hash": "x"},
    {"do_lower_case": True}, {"unk_id": 1}, {"response_schema": {}}, {"response_template": {}}, {"chat_control_tokens": []},
    {"chat_template": "x"}, {"device_map": "auto"}, {"tokenizer_type": "llama"}, {"language": "en"}, {"revision": "main"},
    {"additional_special_tokens_ids": [3]}, {"dropout": 0.5}, {"normalizer": None}, {"use_regex": False}, {"trim_offsets": False},
    {"encode": 1}, {"_add_bos_token": True}, {"model_type": "llama"}, {"tokenizer_padding": None}, {"remove_space": True},
    {"keep_accents": True}, {"strip_accents": True}, {"a_key_of_tomorrow": 1}, {"gguf_file": None}, {"files_loaded": []},
    {"add_special_tokens": False}, {"spm_file": "x"}, {"suppress_tokens": [1]}, {"model": 1}, {"tokenizer": None},
]
KINDS = [
    # tokenizer, model_type, tokenizer_class
    ("gpt2", "gpt2", None), ("llama3", "gpt2", "PreTrainedTokenizerFast"), ("digits", "llama", "GPT2Tokenizer"),
    ("llama3", "llama", None), ("llama3", "llama", "LlamaTokenizerFast"), ("llama2", "llama", "LlamaTokenizer"),
    ("llama2", "llama", None), ("qwen2", "qwen2", "Qwen2Tokenizer"), ("gemma", "gemma3_text", "GemmaTokenizer"),
    ("neox", "gpt_neox", "GPTNeoXTokenizer"), ("gpt2", "phi", "CodeGenTokenizer"),
]
# What transformers registers a class for, or none.
MODEL_TYPES = [
    "gpt2", "llama", "phi", "opt", "qwen2", "qwen3", "mistral", "phi3", "gemma3_text", "gpt_neox", "smollm3", "olmo2",
    "granite", "starcoder2",
]
CLASSES = [
    None, "", "LlamaTokenizer", "LlamaTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast",
    "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend", "Qwen2Tokenizer", "GPTNeoXTokenizerFast", "CodeGenTokenizer",
    "CodeLlamaTokenizerFast", "GemmaTokenizer", "RobertaTokenizer", "BloomTokenizerFast", "NoSuchTokenizer", 3,
]


def cases():
    for name, model_type, tokenizer_class in KINDS:
        for change in CHANGES:
            config = {**({"tokenizer_class": tokenizer_class} if tokenizer_class else {}), **change}
            yield name, {"config.json": {"model_type": model_type}, "tokenizer_config.json": config}
    for name in TOKENIZERS:
        for model_type in ["gpt2", "llama"]:
            yield name, {"config.json": {"model_type": model_type}}
            for tokenizer_class in CLASSES:
                stated = {"tokenizer_class": tokenizer_class}
                yield name, {"config.json": {"model_type": model_type}, "tokenizer_config.json": stated}
                if isinstance(tokenizer_class, str):
                    yield name, {"config.json": {"model_type": model_type, **stated}}
            both = {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}
            yield name, {"config.json": {"model_type": model_type, "tokenizer_class": "LlamaTokenizer"}, **both}
    named = [
        None, "PreTrainedTokenizerFast", "GPT2Tokenizer", "LlamaTokenizerFast", "Qwen2TokenizerFast", "GemmaTokenizerFast",
        "GPTNeoXTokenizerFast", "CodeGenTokenizerFast",
    ]
    for name in [*TOKENIZERS, None]:
        for model_type in MODEL_TYPES:
            for tokenizer_class in named:
                stated = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
                yield name, {"config.json": {"model_type": model_type}, "tokenizer_config.json": stated}
    # Older files beside.
    maps = [
        {"bos_token": "<new>"}, {"bos_token": token(lstrip=True)}, {"additional_special_tokens": ["<new>"]},
        {"additional_special_tokens": [token(rstrip=True)]}, {"extra_special_tokens": [token(rstrip=True)]},
        {"add_bos_token": True, "bos_token": "<s>"}, {"add_prefix_space": True}, {"image_token": "<new>"}, {"x": 1},
        {"split_special_tokens": True}, {"bos_token": None},
    ]
    for name, model_type, tokenizer_class in KINDS:
        stated = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
        folder = {"config.json": {"model_type": model_type}, "tokenizer_config.json": stated}
        for older in maps:
            yield name, {**folder, "special_tokens_map.json": older}
        yield name, {**folder, "special_tokens_map.json": maps[0], "tokenizer_config.json": {**stated, "added_tokens_decoder": {}}}
        yield name, {**folder, "special_tokens_map.json": maps[2], "tokenizer_config.json": {**stated, "extra_special_tokens": ["<s>"]}}
        for older in [{"<new>": 9}, {"<later>": NEXT}, {"<s>": 1}, {}]:
            yield name, {**folder, "added_tokens.json": older}
        yield name, {**folder, "added_tokens.json": {"<new>": 9}, "tokenizer_config.json": {**stated, "added_tokens_decoder": {}}}
        yield name, {**folder, "added_tokens.json": {"<new>": 9}, "tokenizer_config.json": {**stated, "bos_token": "<new>"}}
    # vocab.json and merges.txt.
    for model_type, tokenizer_class in [("gpt2", None), ("gpt2", "GPT2Tokenizer"), ("llama", None), ("llama", "GPT2TokenizerFast"),
                                        ("llama", "LlamaTokenizer"), ("gpt2", "PreTrainedTokenizerFast"),
                                        ("opt", "GPT2Tokenizer"), ("qwen3", None), ("gpt_neox", None),
                                        ("phi", "CodeGenTokenizer")]:
        stated = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
        for change in CHANGES[:45]:
            yield None, {"config.json": {"model_type": model_type}, "tokenizer_config.json": {**stated, **change}}
        yield None, {"config.json": {"model_type": model_type}}
    both = {"add_bos_token": True, "add_eos_token": True, "bos_token": "<s>", "eos_token": "<new>"}
    yield None, {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json": both}
    yield None, {"config.json": {"model_type": "gpt2"}, "special_tokens_map.json": both}


def answer(name, files):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if name is None:
            model = TOKENIZERS["gpt2"]["model"]
            (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
            (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *model["merges"], ""]))
        else:
            (folder / "tokenizer.json").write_text(json.dumps(TOKENIZERS[name]))
        for file, content in files.items():
            (folder / file).write_text(json.dumps(content))
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer(text)["input_ids"] for text in TEXTS]
            decoded = [tokenizer.decode(tokens) for tokens in ids]
            return {"ids": ids, "decoded": decoded, "special": tokenizer.special_tokens_map}
        except Exception as error:
            return {"error": type(error).__name__}


def main():
    transformers.logging.set_verbosity_error()
    results, places = [], {}
    lines = []
    for name, files in cases():
        result = json.dumps(answer(name, files), ensure_ascii=False)
        if result not in places:
            places[result] = len(results)
            results.append(result)
        case = {"tokenizer": name, "files": files, "result": places[result]}
        lines.append(json.dumps(case, ensure_ascii=False))
    tokenizers = (f'"{name}": ' + json.dumps(whole, ensure_ascii=False) for name, whole in TOKENIZERS.items())
    (HERE / "tokenization.json").write_text(
        '{"texts": ' + json.dumps(TEXTS, ensure_ascii=False)
        + ',\n"tokenizers": {\n' + ",\n".join(tokenizers)
        + '},\n"results": [\n' + ",\n".join(results)
        + '],\n"cases": [\n' + ",\n".join(lines) + "]}\n"
    )


if __name__ == "__main__":
    main()
