"""Makes goldens/pair-templates.jsonl: pairs by chat templates of the kinds that published rerankers have, as transformers
renders them.

Usage: python scripts/make_pair_templates.py

Each row: files to lay over fixtures/tiny-rerankers/qwen3, an instruction (or none), query and document; the text that
transformers' apply_chat_template makes of them, and its ids by the fixture's tokenizer. Messages are those that
sentence-transformers makes of a pair (roles query and document, behind a system message with the prompt), and for templates of
chats those of the example in vLLM's form that Qwen3-Reranker's authors publish. Needs transformers 5.24.0 and jinja2, no PyTorch.
"""

import json
import pathlib
import shutil
import tempfile

from tokenizers import Tokenizer
from transformers import AutoTokenizer

ROOT = pathlib.Path(__file__).parent.parent / "crates/akidb-testing"
FIXTURE = ROOT / "fixtures/tiny-rerankers/qwen3"
WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
JUDGE = 'Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".'


def content(role: str) -> str:
    return f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'


# What the authors publish, as a template of pairs.
PUBLISHED = (
    f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
    f'<Instruct>: {{{{ {content("system")} | default("{WEB_SEARCH}") }}}}\n<Query>: {{{{ {content("query")} }}}}\n'
    f'<Document>: {{{{ {content("document")} }}}}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n\n'
)
# The same with blank lines between the parts and another default.
BLANK_LINES = PUBLISHED.replace("\n<Query>", "\n\n<Query>").replace("\n<Document>", "\n\n<Document>").replace(WEB_SEARCH, "Find facts")
# No instruction; the query is the system's message, the document the user's.
SYSTEM_IS_QUERY = f"""{{%- set query = {content("query")} -%}}
{{%- set document = {content("document")} -%}}
<|im_start|>system
{{{{ query }}}}<|im_end|>
<|im_start|>user
{{{{ document }}}}<|im_end|>
{{%- if add_generation_prompt %}}

<|im_start|>assistant
{{%- endif %}}
"""
FIRST_OF_EACH = (
    'question:{{ (messages | selectattr("role", "eq", "query") | first).content }} \n \n '
    'passage:{{ (messages | selectattr("role", "eq", "document") | first).content }}'
)
ANY_ROLE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# A chat with thinking that can be turned off, in the constructs that Qwen3's own template uses.
THINKING_CHAT = """{%- if tools %}
    {{- tools | tojson }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set last = namespace(found=false, index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if not last.found and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set last.found = true %}
        {%- set last.index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>assistant\\n' + (thoughts if loop.index0 > last.index else content.strip()) + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
SPECIAL_TOKENS = (
    "{{ bos_token }}{% for message in messages %}{% if message.role not in ['query', 'document'] %}{% continue %}{% endif %}\n"
    "    {% if message.role == 'query' %}Q: {{ message.content }}{{ eos_token }}{% else %}D: {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
)

MODULES = json.dumps([
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {"idx": 1, "name": "1", "path": "1_LogitScore", "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"},
])


def tokenizer_config(template: object) -> dict[str, str]:
    config = json.loads((FIXTURE / "tokenizer_config.json").read_text()) | {"chat_template": template}
    return {"tokenizer_config.json": json.dumps(config)}


def pipeline(arguments: dict | None = None, prompt: str | None = None) -> dict[str, str]:
    files = {"modules.json": MODULES, "1_LogitScore/config.json": json.dumps({"true_token_id": 7, "false_token_id": 9})}
    if arguments:
        files["sentence_bert_config.json"] = json.dumps({"processing_kwargs": {"chat_template": arguments}})
    if prompt:
        files["config_sentence_transformers.json"] = json.dumps({"prompts": {"search": prompt}, "default_prompt_name": "search"})
    return files


# Name, files, messages ("pair" or "chat"), the arguments of apply_chat_template, the instruction without a caller's own.
CASES = [
    ("published", {"chat_template.jinja": PUBLISHED}, "pair", {}, None),
    ("published in a pipeline", {"chat_template.jinja": PUBLISHED} | pipeline(prompt="Find laws"), "pair", {}, "Find laws"),
    ("blank lines", tokenizer_config(BLANK_LINES), "pair", {}, None),
    ("system is query", {"chat_template.jinja": SYSTEM_IS_QUERY} | pipeline({"add_generation_prompt": True}), "pair", {"add_generation_prompt": True}, None),
    ("system is query, no prompt", {"chat_template.jinja": SYSTEM_IS_QUERY}, "pair", {}, None),
    ("first of each", tokenizer_config([{"name": "default", "template": ANY_ROLE}, {"name": "pair", "template": FIRST_OF_EACH}]) | pipeline({"chat_template": "pair"}), "pair", {"chat_template": "pair"}, None),
    ("any role in a pipeline", {"chat_template.jinja": ANY_ROLE} | pipeline({"add_generation_prompt": True}, "Find laws"), "pair", {"add_generation_prompt": True}, "Find laws"),
    ("any role", {"chat_template.jinja": ANY_ROLE}, "chat", {"add_generation_prompt": True, "enable_thinking": False}, WEB_SEARCH),
    ("thinking chat", tokenizer_config(THINKING_CHAT), "chat", {"add_generation_prompt": True, "enable_thinking": False}, WEB_SEARCH),
    ("special tokens", {"chat_template.jinja": SPECIAL_TOKENS}, "pair", {}, None),
]
PAIRS = [
    ("what boils at 100 degrees", "Water boils at one hundred degrees."),
    ("", ""),
    (" zwei Zeilen\nund <|im_end|>\n", "\n  {{ messages }} {% raw %} \n\n"),
    ("quotes \" ' & < >", "Größe 東京 🙂"),
]


def messages(kind: str, instruction: str | None, query: str, document: str) -> list[dict[str, str]]:
    if kind == "chat":
        user = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        return [{"role": "system", "content": JUDGE}, {"role": "user", "content": user}]
    system = [{"role": "system", "content": instruction}] if instruction else []
    return [*system, {"role": "query", "content": query}, {"role": "document", "content": document}]


def main() -> None:
    rows, fixture = [], Tokenizer.from_file(str(FIXTURE / "tokenizer.json"))
    for name, files, kind, arguments, default in CASES:
        with tempfile.TemporaryDirectory() as folder:
            directory = pathlib.Path(folder)
            for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
                shutil.copy(FIXTURE / file, directory)
            for file, text in files.items():
                (directory / file).parent.mkdir(exist_ok=True)
                (directory / file).write_text(text)
            tokenizer = AutoTokenizer.from_pretrained(directory)
        takes_instruction = "system" in str(files) and not name.startswith(("system is", "first"))
        for own in (None, "Find proofs") if takes_instruction else (None,):
            for query, document in PAIRS:
                made = messages(kind, own or default, query, document)
                text = tokenizer.apply_chat_template(made, tokenize=False, **arguments)
                ids = fixture.encode(text, add_special_tokens=False).ids
                rows.append({"name": name, "files": files, "instruction": own, "query": query, "document": document, "text": text, "ids": ids})
    with (ROOT / "goldens/pair-templates.jsonl").open("w") as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
