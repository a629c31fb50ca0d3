"""Text to ids beside the libraries that do the same: encoding and fitting, rows a second.

Every figure comes from a process of its own, the contenders take turns, and the table gives the
medians and their ratios: `python tests/benchmarks/features_text.py DATA [--rows 50000]
[--rounds 3] [--datasets PYTHON]`. DATA is a folder with text_trec.parquet, tree_sst.parquet and
translate_multi30k_en_fr.parquet; a third of the words of each text is shuffled, so that texts do
not repeat as they stand. `--datasets` names a Python that has Hugging Face `datasets`. Memory is
the peak resident set beyond what the imports and the table take; ours reads the table in frames of
50 000 rows, the others as they are written for.
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
    # Not getrusage: its maximum starts with what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report(steps):
    print(json.dumps({
        "seconds": time.perf_counter() - began, "MiB": peak() - before, "steps": int(steps)}))
"""

OURS = """
import numpy as np
import polars as pl, pyarrow, spacy, tokenizers
from models.features.text import TextInput, TextState, fit, transform
from models.features.text.words import words_of
config = TextInput(column="text", tokenizer="TOKENIZER", normalize=(), max_length=100_000)
frame = pl.read_parquet(path)
if "TOKENIZER" == "word":
    words_of("en")
"""

ENCODE = (
    OURS
    + """
sample = frame.head(20_000) if "TOKENIZER" != "bpe" else frame.head(0)
state = TextState(tokens=("x",), model=model.read_text()) if "TOKENIZER" == "bpe" else (
    TextState(tokens=tuple(json.loads(model.with_suffix(".words").read_text())))
    if "TOKENIZER" == "word" else fit([sample], config))
transform(frame.head(1), config, state)
before, began = peak(), time.perf_counter()
report(sum(len(transform(part, config, state).values_NC) for part in frame.iter_slices(50_000)))
"""
)

FIT = (
    OURS
    + """
before, began = peak(), time.perf_counter()
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
before, began = peak(), time.perf_counter()
done = table.map(
    lambda rows: {"ids": [[byte + 1 for byte in text.encode()] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(done))
""",
    "character: ours": ENCODE.replace("TOKENIZER", "character"),
    "character: CountVectorizer": SKLEARN
    + """
vectorizer = CountVectorizer(analyzer="char", lowercase=False).fit(texts[:20_000])
before, began = peak(), time.perf_counter()
report(vectorizer.transform(texts).sum())
""",
    "character: datasets.map": DATASETS
    + """
ids = {chr(place): place for place in range(256)}
before, began = peak(), time.perf_counter()
done = table.map(
    lambda rows: {"ids": [[ids.get(letter, 0) for letter in text] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(done))
""",
    "word: ours": ENCODE.replace("TOKENIZER", "word"),
    "word: spaCy tokenizer.pipe": """
import polars as pl, spacy
texts = pl.read_parquet(path)["text"].to_list()
ids = {word: place for place, word in enumerate(
    json.loads(model.with_suffix(".words").read_text()), 1)}
tokenizer = spacy.blank("en").tokenizer
before, began = peak(), time.perf_counter()
done = [[ids.get(word.text, 0) for word in doc] for doc in tokenizer.pipe(texts)]
report(sum(map(len, done)))
""",
    "word: CountVectorizer": SKLEARN
    + """
vectorizer = CountVectorizer(lowercase=False, vocabulary=json.loads(
    model.with_suffix(".words").read_text()))
before, began = peak(), time.perf_counter()
report(vectorizer.transform(texts).sum())
""",
    "word: datasets.map, split()": DATASETS
    + """
ids = {word: place for place, word in enumerate(
    json.loads(model.with_suffix(".words").read_text()), 1)}
before, began = peak(), time.perf_counter()
done = table.map(
    lambda rows: {"ids": [[ids.get(word, 0) for word in text.split()] for text in rows["text"]]},
    batched=True, remove_columns="text", keep_in_memory=True)
report(len(done))
""",
    "bpe: ours": ENCODE.replace("TOKENIZER", "bpe"),
    "bpe: tokenizers encode_batch": """
import polars as pl
from tokenizers import Tokenizer
texts = pl.read_parquet(path)["text"].to_list()
tokenizer = Tokenizer.from_str(model.read_text())
before, began = peak(), time.perf_counter()
steps = 0
for start in range(0, len(texts), 10_000):
    done = tokenizer.encode_batch(texts[start : start + 10_000])
    steps += sum(len(one.ids) for one in done)
report(steps)
""",
    "bpe: tokenizers encode_batch_fast": """
import polars as pl
from tokenizers import Tokenizer
texts = pl.read_parquet(path)["text"].to_list()
tokenizer = Tokenizer.from_str(model.read_text())
before, began = peak(), time.perf_counter()
steps = 0
for start in range(0, len(texts), 10_000):
    done = tokenizer.encode_batch_fast(texts[start : start + 10_000])
    steps += sum(len(one.ids) for one in done)
report(steps)
""",
    "fit character: ours": FIT.replace("TOKENIZER", "character"),
    "fit character: CountVectorizer": SKLEARN
    + """
before, began = peak(), time.perf_counter()
report(len(CountVectorizer(analyzer="char", lowercase=False).fit(texts).vocabulary_))
""",
    "fit word: ours": FIT.replace("TOKENIZER", "word"),
    "fit word: CountVectorizer": SKLEARN
    + """
before, began = peak(), time.perf_counter()
report(len(CountVectorizer(lowercase=False, min_df=2, max_features=15_999).fit(texts).vocabulary_))
""",
    "fit bpe: ours": FIT.replace("TOKENIZER", "bpe"),
    "fit bpe: tokenizers train": """
import polars as pl
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
texts = pl.read_parquet(path)["text"].to_list()
level = pre_tokenizers.ByteLevel(add_prefix_space=True)
before, began = peak(), time.perf_counter()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = level
tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
    vocab_size=15_999, min_frequency=2, initial_alphabet=level.alphabet(), show_progress=False))
report(tokenizer.get_vocab_size())
""",
}


def write_table(data: Path, path: Path, rows: int) -> None:
    """Texts of three kinds, a third of the words of each in another order."""
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
        some = np.flatnonzero(draw.random(len(words)) < 1 / 3)
        words[some] = words[draw.permutation(some)]
        shuffled.append(" ".join(words))
    pl.DataFrame({"text": shuffled}).write_parquet(path, row_group_size=50_000)


def write_models(path: Path, model: Path) -> None:
    """One vocabulary of byte pairs and one of words, the same for all."""
    from models.features.text import TextInput, fit

    frame = pl.read_parquet(path)
    model.write_text(fit([frame], TextInput(column="text")).model)
    words = fit([frame], TextInput(column="text", tokenizer="word")).tokens
    model.with_suffix(".words").write_text(json.dumps(words))


def measure(data: Path, rows: int, rounds: int, datasets: str | None) -> dict[str, dict]:
    """Let the contenders take turns; medians over the rounds."""
    wanted = {name: code for name, code in CONTENDERS.items() if datasets or "datasets" not in name}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder) / "table.parquet", Path(folder) / "model.json"
        write_table(data, path, rows)
        write_models(path, model)
        for _ in range(rounds):
            for name, code in wanted.items():
                python = datasets if "datasets" in name else sys.executable
                done = subprocess.run(
                    [python, "-W", "ignore", "-c", PRELUDE + code, path, model],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                seen[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in seen.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datasets", metavar="PYTHON")
    wanted = parser.parse_args()
    if wanted.datasets is None:
        print("without --datasets, Hugging Face `datasets` is left out")
    small, large = (
        measure(wanted.data, rows, wanted.rounds, wanted.datasets)
        for rows in (wanted.rows // 10, wanted.rows)
    )
    print(f"{'':36}{'s':>8}{'k rows/s':>10}{'MiB':>8}{'k rows/s, MiB at 1/10':>24}{'ours is':>10}")
    for name, figures in large.items():
        kind, _, who = name.partition(": ")
        ratio = figures["seconds"] / large[f"{kind}: ours"]["seconds"]
        few = small[name]
        print(
            f"{name:36}{figures['seconds']:8.2f}{wanted.rows / figures['seconds'] / 1e3:10.0f}"
            f"{figures['MiB']:8.0f}{wanted.rows / few['seconds'] / 1e4:16.0f}{few['MiB']:8.0f}"
            + ("" if who == "ours" else f"{ratio:9.1f}x")
        )


if __name__ == "__main__":
    main()
