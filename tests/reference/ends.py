"""Where transformers ends greedy answers of models/tiny-gpt2, and what it makes of prompts, by what the checkpoint says.

    python tests/reference/ends.py        # with requirements.txt; writes ends.json

Each case changes config.json, adds a generation_config.json, or changes tokenizer.json and tokenizer_config.json.
"""

import json
import pathlib
import shutil
import tempfile

import torch
import transformers

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "models/tiny-gpt2"
PROMPT = [10, 20, 30, 40]
NEW = 12
# What the model answers without an end: 505, 12, 199, 344, 89, 294, …
FOURTH, SIXTH = 344, 294

CASES = [
    # changes to config.json, generation_config.json
    ({}, None),
    ({"eos_token_id": FOURTH}, None),
    ({"eos_token_id": [SIXTH, FOURTH]}, None),
    ({"eos_token_id": [SIXTH, SIXTH]}, None),
    ({"eos_token_id": None}, None),
    ({"eos_token_id": FOURTH}, {"eos_token_id": SIXTH}),
    ({"eos_token_id": FOURTH}, {"eos_token_id": [0, SIXTH]}),
    ({"eos_token_id": FOURTH}, {}),
    ({"eos_token_id": FOURTH}, {"eos_token_id": None}),
    ({"eos_token_id": FOURTH}, {"_from_model_config": True, "eos_token_id": SIXTH}),
    ({}, {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20}),
    # Refused: each changes the answer.
    ({}, {"repetition_penalty": 1.5}),
    ({}, {"eos_token_id": FOURTH, "min_length": 8}),
    ({}, {"eos_token_id": FOURTH, "min_new_tokens": 6}),
    ({}, {"suppress_tokens": [505]}),
    ({}, {"no_repeat_ngram_size": 1}),
    ({}, {"bad_words_ids": [[12]]}),
]

TOKEN = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
PAIR = {"Sequence": {"id": "B", "type_id": 1}}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


def template(*single):
    special = {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, PAIR],
        "special_tokens": {"<|endoftext|>": special},
    }


TOKENIZERS = [
    # post_processor of tokenizer.json, tokenizer_config.json
    (None, None),
    (BYTES, None),
    (template(TOKEN, TEXT), None),
    (template(TEXT, TOKEN), None),
    (template(TOKEN, TOKEN, TEXT, TOKEN), None),
    ({"type": "Sequence", "processors": [BYTES, template(TOKEN, TEXT)]}, None),
    # What tokenizer.json says counts.
    (template(TEXT), {"add_bos_token": True, "bos_token": "<|endoftext|>"}),
    (template(TOKEN, TEXT), {"add_bos_token": False, "bos_token": "<|endoftext|>"}),
]
TEXTS = ["", "The king", "<|endoftext|>The king", " two  spaces ", "naïve 🦀"]


def checkpoint(folder, config=None, generation=None, processor=None, tokenizer=None):
    shutil.copytree(MODEL, folder)

    def change(name, edit):
        path = folder / name
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    change("config.json", lambda c: c.update(config or {}))
    change("tokenizer.json", lambda c: c.update(post_processor=processor))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def answer(config, generation):
    with tempfile.TemporaryDirectory() as folder:
        folder = checkpoint(pathlib.Path(folder) / "model", config, generation)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        prompt = torch.tensor([PROMPT])
        return model.generate(prompt, do_sample=False, max_new_tokens=NEW)[0, len(PROMPT) :].tolist()


def encoded(processor, config):
    with tempfile.TemporaryDirectory() as folder:
        folder = checkpoint(pathlib.Path(folder) / "model", processor=processor, tokenizer=config)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return [tokenizer(text)["input_ids"] for text in TEXTS]


def main():
    transformers.logging.set_verbosity_error()
    answers = [{"config": c, "generation": g, "output": answer(c, g)} for c, g in CASES]
    prompts = [{"post_processor": p, "tokenizer_config": c, "tokens": encoded(p, c)} for p, c in TOKENIZERS]
    content = {"prompt": PROMPT, "new": NEW, "answers": answers, "texts": TEXTS, "prompts": prompts}
    lines = json.dumps(content, ensure_ascii=False).replace('}, {"', '},\n{"')
    (HERE / "ends.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
