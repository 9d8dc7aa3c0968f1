"""The 60 texts of the golden files: ordinary ones, and every kind that tokenizers are known to stumble over."""

PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

PARAGRAPH = (
    "A checksum is a short number computed from a long run of bytes. When a file is copied, the receiver computes "
    "the number again and compares: if the two differ, at least one byte changed on the way. Simple sums notice a "
    "flipped bit but not two bytes that traded places, which is why cyclic codes are used on disks and networks. "
    "None of them protects against somebody who changes the file on purpose; for that a cryptographic hash is needed, "
    "and the hash has to arrive by another road than the file itself. "
)

TEXTS = [
    # Nothing, and next to nothing.
    "",
    "a",
    " ",
    "\n",
    "\t\t\n\n \t \r\n\r\n",
    "        indented by eight, then three trailing   ",
    # Plain English.
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "How do I resume an interrupted download?",
    "Restart the service after you have changed its configuration file, then look at the log for errors.",
    "i'm sure they'll say it's what we've agreed; THEY'RE LATE, I'D GO, DON'T, it'\u017f",
    "it\u2019s \u201cquoted\u201d \u2013 with dashes \u2014 and an ellipsis\u2026 \u00a9 2024 \u20ac5 \u00bd \u00b5m",
    PARAGRAPH.strip(),
    # Queries with an instruction.
    PROMPT + "how to bake sourdough bread",
    PROMPT,
    "Instruct: Find the passage that explains the error message\nQuery: connection reset by peer",
    # Emoji: one, a ZWJ family, skin tones, flags, keycaps, variation selectors.
    "\U0001F600",
    "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466 family, \U0001F469\U0001F3FD\u200d\U0001F4BB coder, \u2764\ufe0f\u200d\U0001F525",
    "\U0001F1E9\U0001F1EA\U0001F1EF\U0001F1F5\U0001F1E7\U0001F1F7 flags \U0001F3F4\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F 1\ufe0f\u20e3 #\ufe0f\u20e3",
    "ship it \U0001F680\U0001F680\U0001F680 lgtm \U0001F44D\U0001F3FF \u263a\ufe0e",
    # Scripts.
    "\u673a\u5668\u5b66\u4e60\u662f\u4eba\u5de5\u667a\u80fd\u7684\u4e00\u4e2a\u5206\u652f\uff0c\u7814\u7a76\u5982\u4f55\u8ba9\u8ba1\u7b97\u673a\u4ece\u6570\u636e\u4e2d\u5b66\u4e60\u3002",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3092\u691c\u7d22\u3059\u308b\u3002\u30d5\u30a1\u30a4\u30eb\u306e\u30b3\u30d4\u30fc\u306b\uff71\uff72\uff73\u3068\uff26\uff55\uff4c\uff4c\uff57\uff49\uff44\uff54\uff48\uff01",
    "\ud55c\uad6d\uc5b4 \ubb38\uc11c\ub97c \uac80\uc0c9\ud558\ub294 \ubc29\ubc95\uc744 \uc54c\ub824 \uc8fc\uc138\uc694.",
    "\u0643\u064a\u0641 \u0623\u0633\u062a\u0623\u0646\u0641 \u062a\u0646\u0632\u064a\u0644\u0627\u064b \u0645\u062a\u0648\u0642\u0641\u0627\u064b\u061f \u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u064f \u0639\u064e\u0644\u064e\u064a\u0652\u0643\u064f\u0645",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, \u05de\u05d4 \u05d4\u05e9\u05e2\u05d4? \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u200f(123)\u200e",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0916\u094b\u091c \u0915\u0948\u0938\u0947 \u0915\u0930\u0947\u0902? \u0967\u0968\u0969",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e44\u0e21\u0e48\u0e21\u0e35\u0e0a\u0e48\u0e2d\u0e07\u0e27\u0e48\u0e32\u0e07\u0e23\u0e30\u0e2b\u0e27\u0e48\u0e32\u0e07\u0e04\u0e33",
    "\u041a\u0430\u043a \u043f\u0435\u0440\u0435\u0437\u0430\u043f\u0443\u0441\u0442\u0438\u0442\u044c \u0441\u043b\u0443\u0436\u0431\u0443? \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac: \u03c0\u03ce\u03c2; \u0130stanbul I\u0131 \u00df\u1e9e",
    "Der Gr\u00f6\u00dfenunterschied f\u00e4llt auf; l'\u00e9l\u00e8ve a \u00e9t\u00e9 re\u00e7u \u00e0 No\u00ebl; ma\u00f1ana, \u00bfqu\u00e9?",
    "mixed \u4e2d\u6587 and \u0440\u0443\u0441\u0441\u043a\u0438\u0439 and \u0627\u0644\u0639\u0631\u0628\u064a\u0629 and \ud55c\uae00 in one line, v2.0-\u03b2",
    # Normalisation (NFC): decomposed letters, jamo, singletons, composition exclusions, marks out of order.
    "re\u0301sume\u0301 Cafe\u0301 na\u0131\u0308ve A\u030angstro\u0308m",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u1100\u1161",
    "\u212b \u2126 \u212a \uf900 \u0958 \u0928\u093c a\u0323\u0307 a\u0307\u0323 q\u0323\u0307",
    "Z\u0351\u036f\u0343\u0348a\u0334\u0321\u0315l\u0353\u0322g\u0321\u0356o\u0327\u0300 \ufb01ne \u2460 \u00b2 \u1d2c",
    # Control and invisible characters.
    "nul\x00inside",
    "\x00\x01\x02\x1b[31mred\x1b[0m\x07\x08\x7f\x85",
    "\ufeffmark first\u200b zero\u200bwidth, soft\u00adhyphen, no\u00a0break, wide\u3000space, \u2028line\u2029para",
    "private \ue000 and \U0010FFFD, \ufffd replacement, \U0001D49C\U0001D4B7\U0001D4B8 math",
    # Long words and repetition.
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "x" * 700,
    "ab" * 90 + "!" * 90 + "." * 33 + "=" * 64,
    "no" + " " * 200 + "yes",
    # Numbers, addresses, code, data.
    "3.14159265358979 1,000,000 -273.15 0x1F 1e-9 12:30 2024-02-29 +49 (0)30 123456 \u00bc \u0664\u0665",
    "https://example.org:8080/a/b%20c/?q=vector+search&lang=en#top user@mail.example.org C:\\Temp\\x.log /var/log/app.log.1.gz",
    "fn main() {\n    let v: Vec<u32> = (0..10).filter(|x| x % 2 == 0).collect();\n    println!(\"{v:?}\");\n}\n",
    "def f(x, *, y=None):\n\tif x is None:\n\t\treturn {}\n\treturn [i ** 2 for i in range(x) if i & 1]  # odd\n",
    '{"id": 17, "tags": ["a", "b"], "nested": {"ok": true, "none": null, "text": "line\\nbreak \\u00e9"}, "n": -1.5e3}',
    "SELECT u.name, COUNT(*) AS n FROM users u LEFT JOIN logs l ON l.uid = u.id WHERE l.ts >= '2024-01-01' GROUP BY 1 HAVING n > 3;",
    "<p class=\"x\">a &amp; b</p><!-- note --><br/> $\\frac{a}{b} \\leq \\sqrt{2}$ | a | b |\n|---|---|\n| 1 | 2 |",
    "d3b07384d113edec49eaa6238ad5ff00 QmFzZTY0IGVuY29kZWQgdGV4dA== 550e8400-e29b-41d4-a716-446655440000",
    # Strings that are special tokens, and some that nearly are.
    "<|endoftext|>",
    "before <|endoftext|> after",
    "ends in the end token<|endoftext|>",
    "<|im_start|>user\nWhat is a checksum?<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|endoftext|> <|ENDOFTEXT|> <|endoftext|<|im_end|> < |endoftext| > </s> [CLS] <pad>",
    # Lengths around the model's limit of 2 048 tokens, the appended end token included.
    "\n\n".join(f"{i}. {PARAGRAPH}" for i in range(1, 17)),
    "the" + " the" * 2045,
    "the" + " the" * 2046,
    "the" + " the" * 2047,
    "\n\n".join(f"{i}. {PARAGRAPH}" for i in range(1, 26)),
]
assert len(TEXTS) == 60 and len(set(TEXTS)) == 60
