"""Makes tests/reference/chat.json: what transformers' apply_chat_template makes of chats.

    python tests/reference/chat.py        (the packages of tests/reference/requirements.txt)

Each template meets each conversation; each expression is a template of its own and meets one conversation. A case has
the text and its tokens, or the type of the error.
"""

import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as utils
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
SPECIAL = [
    "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|begin_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "[INST]", "[/INST]",
]


class Day(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2025, 7, 6, 12, 34, 56)


utils.datetime = Day

TEMPLATES = {
    # Of HuggingFaceTB/SmolLM2-135M-Instruct, as it stands in the GGUF file that models/smollm2/fetch gets.
    "smollm2": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' "
        "+ message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt "
        "%}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "headers": """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{#- The system's message stands first, whatever it is. -#}
{%- if messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}
        {%- set system = messages[0]['content'] | trim %}
    {%- else %}
        {%- set system = messages[0]['content'][0]['text'] | trim %}
    {%- endif %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role == 'tool' or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("one tool call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message.content is string %}
            {{- message.content | trim }}
        {%- else %}
            {%- for part in message.content %}
                {%- if part.type == 'text' %}
                    {{- part.text | trim }}
                {%- endif %}
            {%- endfor %}
        {%- endif %}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "alternating": """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0, last=-1) %}
{%- for message in loop_messages %}
    {%- if message.role in ["user", "assistant"] and not message.tool_calls is defined %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
        {%- if message.role == "user" %}{% set ns.last = loop.index0 %}{% endif %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.index0 == ns.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " ~ message["content"] ~ "[/INST]" }}
        {%- endif %}
    {%- elif message.get("tool_calls") %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function | tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id | length != 9 %}
                {{- ', "id": "' + tool_call.id | default("none") | string + '"}' }}
            {%- else %}
                {{- ', "id": "' + tool_call.id + '"}' }}
            {%- endif %}
            {%- if not loop.last %}{{- ", " }}{% else %}{{- "]" + eos_token }}{% endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + '}' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, not " + message.role + "!") }}
    {%- endif %}
{%- endfor %}
""",
    "reasoning": """\
{%- macro shown(content, first=false) %}
    {%- if content is string %}
        {{- content }}
    {%- elif content is iterable and content is not mapping %}
        {%- for item in content %}
            {%- if 'text' in item %}{{ item.text }}{% elif item is string %}{{ item }}{% endif %}
        {%- endfor %}
    {%- elif content is none or content is undefined %}
        {{- '' }}
    {%- else %}
        {{- raise_exception('Unexpected content type.') }}
    {%- endif %}
{%- endmacro %}
{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and not(shown(message.content).startswith('<tool_response>') and shown(message.content).endswith('</tool_response>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = shown(message.content, loop.first)|trim %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{% endif %}
            {%- if call.function %}{% set call = call.function %}{% endif %}
            {{- '<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {%- if call.arguments is string %}{{ call.arguments }}{% else %}{{ call.arguments | tojson }}{% endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{% endif %}
        {{- '\\n<tool_response>\\n' ~ content ~ '\\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != "tool" %}{{- '<|im_end|>\\n' }}{% endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}
""",
    "blocks": """\
{# Trimmed blocks, as they are without dashes. #}
{% set tools_shown = tools if tools else "no tools" %}
{% with greeting = "Hello", day = strftime_now('%A, %B %-d, %Y') %}
  {{ greeting }}! It is {{ day }}.
{% endwith %}

{% for message in messages if message.role != 'system' %}
  {% if loop.previtem is defined and loop.previtem.role == message.role %}
    {% continue %}
  {% endif %}
  {{ loop.index }}/{{ loop.length }} {{ loop.cycle('odd', 'even') }} {{ loop.changed(message.role) }}
  {% generation %}
  {{ message.role | upper }}: {{ message.content }}
  {% endgeneration %}
  {% if loop.index > 4 %}
    {% break %}
  {% endif %}
{% else %}
nobody spoke
{% endfor %}
{% set last %}
<{{ messages[-1].role }}>
{% endset %}
{{ last | trim }}	{%+ if true %} kept {% endif %}

{%- for key, value in messages[0].items() | sort(attribute='0') %}
{{ key }}={{ value | tojson(indent=2) }};
{%- endfor %}
{{ tools_shown }}
""",
}

CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {
        "name": "weather",
        "arguments": {"city": "Zürich", "days": 3, "exact": True, "at": None, "scale": 0.1, "items": ["a", {"keys": []}]},
    },
}
USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "4"}
CONVERSATIONS = {
    "user": [USER],
    "system": [{"role": "system", "content": "Be brief."}, USER],
    "turns": [{"role": "system", "content": " Be brief. \n"}, USER, ASSISTANT, {"role": "user", "content": "And 3?"}],
    "spaces": [{"role": "user", "content": "  leading and trailing \n\n"}, {"role": "assistant", "content": "\n ok \t"},
               {"role": "user", "content": " "}],
    "empty": [{"role": "user", "content": ""}],
    "unicode": [{"role": "user", "content": "Grüße, 東京! 🦀 \u00a0\u2003\u0085"}, {"role": "assistant", "content": "é"},
                {"role": "user", "content": "'\"\\ </s><|im_end|>{{ x }}"}],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
              {"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "text", "text": "two"}]}],
    "tools": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
              {"role": "tool", "name": "weather", "content": "{\"sun\": true}"},
              {"role": "tool", "content": "rain"}, {"role": "user", "content": "So?"}],
    "thoughts": [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
                 {"role": "user", "content": "Sure?"},
                 {"role": "assistant", "reasoning": "let me see", "content": "Yes."}],
    "assistant first": [ASSISTANT, USER],
    "unknown role": [USER, {"role": "critic", "content": "Wrong!"}],
}

EXPRESSION_CONVERSATION = [
    {"role": "system", "content": "  Be brief.\n"},
    {"role": "user", "content": "Hello, World", "n": 3, "x": 2.5, "list": [3, 1, 2], "none": None,
     "items": {"a": 1, "B": [True, None, "é'\"\n"], "c": {"d": 1e17, "e": 1e-7, "f": 123456.0}}},
    {"role": "assistant", "content": "Hi", "tool_calls": [CALL]},
    {"role": "user", "content": "x"},
]
EXPRESSIONS = (HERE / "chat_expressions.txt").read_text().splitlines()


def tokenizer():
    inner = Tokenizer.from_file(str(HERE.parent.parent / "models/tiny-gpt2/tokenizer.json"))
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def case(tokenizer, template, messages):
    arguments = {"chat_template": template, "add_generation_prompt": True}
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
    except Exception as error:
        return {"error": type(error).__name__}
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **arguments)
    return {"text": text, "ids": ids}


def main():
    reference = tokenizer()
    cases = []
    for name, template in TEMPLATES.items():
        for chat, messages in CONVERSATIONS.items():
            cases.append({"template": name, "chat": chat, **case(reference, template, messages)})
    expressions = []
    for expression in EXPRESSIONS:
        if not expression or expression.startswith("##"):
            continue
        result = case(reference, expression.replace("⏎", "\n"), EXPRESSION_CONVERSATION)
        result.pop("ids", None)
        expressions.append({"template": expression, **result})
    stored = {
        "special": SPECIAL, "date": "2025-07-06", "bos_token": "<s>", "eos_token": "</s>",
        "templates": TEMPLATES, "cases": cases, "expressions": expressions,
        # As texts: the order of keys counts.
        "chats": {name: json.dumps(messages) for name, messages in CONVERSATIONS.items()},
        "expression_chat": json.dumps(EXPRESSION_CONVERSATION),
    }
    text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
    (HERE / "chat.json").write_text(text.replace('{"template":', '\n{"template":') + "\n")


main()
