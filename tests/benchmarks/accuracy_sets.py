"""The datasets of `accuracy.py`: what has to be named on the command line, and references."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What a dataset's file does not say."""

    init: tuple[str, ...] = ()
    """Options of `ostinato init`, alternately names and values."""
    metric: str | None = None
    """The score of the table; None for the first of `METRICS`."""
    season: int = 1
    """Steps of a season, for the seasonal naive reference."""
    text: str | None = None
    """Column of the texts, for the reference."""
    analyzer: str = "word"
    """What the reference counts of texts: `word` or `char`."""
    literature: str = ""
    """Results of others."""


DATASETS = {
    "ts_Adiac": Dataset(literature="MiniRocket 0.803"),
    "ts_BasicMotions": Dataset(literature="MiniRocket 1.000"),
    "ts_CBF": Dataset(literature="MiniRocket 0.999"),
    "ts_ECGFiveDays": Dataset(literature="MiniRocket 1.000"),
    "ts_FaceAll": Dataset(literature="MiniRocket 0.806"),
    "ts_GunPoint": Dataset(literature="MiniRocket 0.993, LSTM-FCN 1.00"),
    "ts_JapaneseVowels": Dataset(literature="MiniRocket 0.995, MLSTM-FCN 1.00"),
    "ts_MedicalImages": Dataset(literature="MiniRocket 0.796"),
    "ts_PowerCons": Dataset(literature="MiniRocket 0.989"),
    "ts_SwedishLeaf": Dataset(literature="MiniRocket 0.957"),
    "ts_SyntheticControl": Dataset(literature="MiniRocket 0.980"),
    "text_banking77": Dataset(text="text", literature="fine-tuned encoders 0.93"),
    "text_names18": Dataset(
        init=("--target", "language"), text="name", analyzer="char", literature="char RNN 0.80"
    ),
    "text_trec": Dataset(
        text="text", literature="LSTM 0.88 to 0.91, word2vec CNN 0.936, ULMFiT 0.964"
    ),
    "text_tweet_emotion": Dataset(text="text", literature="BiLSTM, fastText: macro F1 0.65"),
    "tree_sst": Dataset(text="text", literature="Tree-LSTM 0.43, with GloVe 0.510"),
    "forecast_airline": Dataset(
        init=("--target", "Passengers", "--time", "Month", "--horizon", "12"), season=12
    ),
    "forecast_etth1": Dataset(
        init=("--target", "OT", "--horizon", "96"),
        metric="mse",
        season=24,
        literature="all 7 columns, standardised: SegRNN 0.341, PatchTST 0.370, DLinear 0.375",
    ),
    "forecast_exchange": Dataset(
        init=("--target", "column_7", "--time", "day", "--horizon", "96"),
        literature="all 8 columns, standardised: last value 0.196",
    ),
    "forecast_melbourne_min": Dataset(init=("--target", "Temp", "--horizon", "7"), season=365),
    "m4_weekly": Dataset(
        init=("--target", "y", "--time", "step", "--entity", "id", "--horizon", "13"),
        metric="smape",
        literature="ES-RNN 7.82, Naive2 9.16, best of M4 6.58",
    ),
    "stocks": Dataset(
        init=("--target", "price", "--time", "date", "--entity", "symbol", "--horizon", "1"),
        season=12,
    ),
    "weather_seattle": Dataset(init=("--target", "temp_max", "--horizon", "1"), season=365),
    "audio_fsdd": Dataset(literature="0.97 to 0.99"),
    "image_faces": Dataset(init=("--target", "gender"), literature="small CNNs 0.88 to 0.90"),
    "image_mnist10k": Dataset(literature="row-by-row LSTM 0.975"),
    "image_plates_cn": Dataset(init=("--target", "plate")),
    "translate_multi30k_en_fr": Dataset(
        init=("--target", "french"), metric="bleu", literature="attention RNN 50 to 55"
    ),
}
"""By the name of the file. Other files of the folder are run with what `init` guesses."""


def get_dataset(name: str) -> Dataset:
    """Return what is known of a dataset, by the name of its file."""
    return DATASETS.get(name, Dataset())
