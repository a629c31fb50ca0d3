"""Text to ids, compared with other libraries: encoding and fitting, rows a second.

Every measurement is from a process of its own, the contenders alternate, and the table has
medians and their ratios: `python tests/benchmarks/features_text.py DATA [--rows 50000]
[--rounds 3] [--datasets PYTHON]`. DATA is a folder with text_trec.parquet, tree_sst.parquet and
translate_multi30k_en_fr.parquet; a third of the words of each text is shuffled, so that texts do
not repeat exactly. `--datasets` is a Python that has Hugging Face `datasets`. Memory is the peak
resident set without that of the imports and the table; ours reads the table in frames of 50 000
rows, the others in their usual way.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

PRELUDE = """
import json, sys, time
from pathlib import Path

path, model = Path(sys.argv[1]), Path(sys.argv[2])

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report(steps):
    print(json.dumps({
        "seconds": time.perf_counter() - start_time, "MiB": peak() - before, "steps": int(steps)}))
"""

OURS = """
import numpy as np
import polars as pl, pyarrow, spacy, tokenizers
from models.features.text import TextInput, TextState, fit, transform
from models.features.text.words import build_word_tokenizer
config = TextInput(column="text", tokenizer="TOKENIZER", normalize=(), max_length=100_000)
frame = pl.read_parquet(path)
if "TOKENIZER" == "word":
    build_word_tokenizer("en")
"""

ENCODE = (
    OURS
    + """
sample = frame.head(20_000) if "TOKENIZER" != "bpe" else frame.head(0)
state = TextState(tokens=("x",), model=model.read_text()) if "TOKENIZER" == "bpe" else (
    TextState(tokens=tuple(json.loads(model.with_suffix(".words").read_text())))
    if "TOKENIZER" == "word" else fit([sample], config))
transform(frame.head(1), config, state)
before, start_time = peak(), time.perf_counter()
report(sum(len(transform(part, config, state).values_NC) for part in frame.iter_slices(50_000)))
"""
)

FIT = (
    OURS
    + """
before, start_time = peak(), time.perf_counter()
report(len(fit(frame.iter_slices(50_000), config).tokens))
"""
)

SKLEARN = """
import polars as pl
from sklearn.feature_extraction.text import CountVectorizer
texts = pl.read_parquet(path)["text"].to_list()
"""

DATASETS = """
from datasets import Dataset, disable_caching, disable_progress_bars
disable_caching(); disable_progress_bars()
table = Dataset.from_parquet(str(path), cache_dir=str(model.parent / "datasets"))
"""

CONTENDERS = {
    "byte: ours": ENCODE.replace("TOKENIZER", "byte"),
    "byte: datasets.map": DATASETS
    + """
before, start_time = peak(), time.perf_counter()
encoded = table.map(
    lambda rows: {"ids": [[byte + 1 for byte in text.encode()] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(encoded))
""",
    "character: ours": ENCODE.replace("TOKENIZER", "character"),
    "character: CountVectorizer": SKLEARN
    + """
vectorizer = CountVectorizer(analyzer="char", lowercase=False).fit(texts[:20_000])
before, start_time = peak(), time.perf_counter()
report(vectorizer.transform(texts).sum())
""",
    "character: datasets.map": DATASETS
    + """
ids = {chr(code): code for code in range(256)}
before, start_time = peak(), time.perf_counter()
encoded = table.map(
    lambda rows: {"ids": [[ids.get(letter, 0) for letter in text] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(encoded))
""",
    "word: ours": ENCODE.replace("TOKENIZER", "word"),
    "word: spaCy tokenizer.pipe": """
import polars as pl, spacy
texts = pl.read_parquet(path)["text"].to_list()
ids = {word: index for index, word in enumerate(
    json.loads(model.with_suffix(".words").read_text()), 1)}
tokenizer = spacy.blank("en").tokenizer
before, start_time = peak(), time.perf_counter()
encoded = [[ids.get(word.text, 0) for word in doc] for doc in tokenizer.pipe(texts)]
report(sum(map(len, encoded)))
""",
    "word: CountVectorizer": SKLEARN
    + """
vectorizer = CountVectorizer(lowercase=False, vocabulary=json.loads(
    model.with_suffix(".words").read_text()))
before, start_time = peak(), time.perf_counter()
report(vectorizer.transform(texts).sum())
""",
    "word: datasets.map, split()": DATASETS
    + """
ids = {word: index for index, word in enumerate(
    json.loads(model.with_suffix(".words").read_text()), 1)}
before, start_time = peak(), time.perf_counter()
encoded = table.map(
    lambda rows: {"ids": [[ids.get(word, 0) for word in text.split()] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(encoded))
""",
    "bpe: ours": ENCODE.replace("TOKENIZER", "bpe"),
    "bpe: tokenizers encode_batch": """
import polars as pl
from tokenizers import Tokenizer
texts = pl.read_parquet(path)["text"].to_list()
tokenizer = Tokenizer.from_str(model.read_text())
before, start_time = peak(), time.perf_counter()
steps = 0
for start in range(0, len(texts), 10_000):
    encoded = tokenizer.encode_batch(texts[start : start + 10_000])
    steps += sum(len(each.ids) for each in encoded)
report(steps)
""",
    "bpe: tokenizers encode_batch_fast": """
import polars as pl
from tokenizers import Tokenizer
texts = pl.read_parquet(path)["text"].to_list()
tokenizer = Tokenizer.from_str(model.read_text())
before, start_time = peak(), time.perf_counter()
steps = 0
for start in range(0, len(texts), 10_000):
    encoded = tokenizer.encode_batch_fast(texts[start : start + 10_000])
    steps += sum(len(each.ids) for each in encoded)
report(steps)
""",
    "fit character: ours": FIT.replace("TOKENIZER", "character"),
    "fit character: CountVectorizer": SKLEARN
    + """
before, start_time = peak(), time.perf_counter()
report(len(CountVectorizer(analyzer="char", lowercase=False).fit(texts).vocabulary_))
""",
    "fit word: ours": FIT.replace("TOKENIZER", "word"),
    "fit word: CountVectorizer": SKLEARN
    + """
before, start_time = peak(), time.perf_counter()
report(len(CountVectorizer(lowercase=False, min_df=2, max_features=15_999).fit(texts).vocabulary_))
""",
    "fit bpe: ours": FIT.replace("TOKENIZER", "bpe"),
    "fit bpe: tokenizers train": """
import polars as pl
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
texts = pl.read_parquet(path)["text"].to_list()
level = pre_tokenizers.ByteLevel(add_prefix_space=True)
before, start_time = peak(), time.perf_counter()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = level
tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
    vocab_size=15_999, min_frequency=2, initial_alphabet=level.alphabet(), show_progress=False))
report(tokenizer.get_vocab_size())
""",
}


def write_table(data: Path, path: Path, rows: int) -> None:
    """Write texts of three data sets, a third of the words of each shuffled."""
    columns = {
        "text_trec": "text", "tree_sst": "text", "translate_multi30k_en_fr": "english"
    }  # fmt: skip
    texts = pl.concat(
        pl.read_parquet(data / f"{name}.parquet")[column].alias("text")
        for name, column in columns.items()
    ).sample(rows, with_replacement=True, seed=0)
    draw = np.random.default_rng(0)
    shuffled = []
    for text in texts:
        words = np.array(text.split(), object)
        selected = np.flatnonzero(draw.random(len(words)) < 1 / 3)
        words[selected] = words[draw.permutation(selected)]
        shuffled.append(" ".join(words))
    pl.DataFrame({"text": shuffled}).write_parquet(path, row_group_size=50_000)


def write_models(path: Path, model: Path) -> None:
    """Write one vocabulary of byte pairs and one of words for all contenders."""
    from models.features.text import TextInput, fit

    frame = pl.read_parquet(path)
    model.write_text(fit([frame], TextInput(column="text")).model)
    words = fit([frame], TextInput(column="text", tokenizer="word")).tokens
    model.with_suffix(".words").write_text(json.dumps(words))


def measure(data: Path, rows: int, rounds: int, datasets: str | None) -> dict[str, dict]:
    """Run the contenders alternately; return medians over the rounds."""
    contenders = {
        name: code for name, code in CONTENDERS.items() if datasets or "datasets" not in name
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder) / "table.parquet", Path(folder) / "model.json"
        write_table(data, path, rows)
        write_models(path, model)
        for _ in range(rounds):
            for name, code in contenders.items():
                python = datasets if "datasets" in name else sys.executable
                result = subprocess.run(
                    [python, "-W", "ignore", "-c", PRELUDE + code, path, model],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                results[name].append(json.loads(result.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in results.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datasets", metavar="PYTHON")
    arguments = parser.parse_args()
    if arguments.datasets is None:
        print("without --datasets, Hugging Face `datasets` is skipped")
    small, large = (
        measure(arguments.data, rows, arguments.rounds, arguments.datasets)
        for rows in (arguments.rows // 10, arguments.rows)
    )
    print(f"{'':36}{'s':>8}{'k rows/s':>10}{'MiB':>8}{'k rows/s, MiB at 1/10':>24}{'ours is':>10}")
    for name, values in large.items():
        kind, _, contender = name.partition(": ")
        ratio = values["seconds"] / large[f"{kind}: ours"]["seconds"]
        tenth = small[name]
        tenth_speed = arguments.rows / tenth["seconds"] / 1e4
        print(
            f"{name:36}{values['seconds']:8.2f}{arguments.rows / values['seconds'] / 1e3:10.0f}"
            f"{values['MiB']:8.0f}{tenth_speed:16.0f}{tenth['MiB']:8.0f}"
            + ("" if contender == "ours" else f"{ratio:9.1f}x")
        )


if __name__ == "__main__":
    main()
