"""What the usual baselines reach with few labels: logistic regression on TF-IDF and on a frozen encoder's vectors.

python learning_curve.py CORPUS ENCODER [LABELS...]     CORPUS: the folder routellm; ENCODER: a checkpoint's folder

MMLU rows without the contaminated ones, gpt-4-1106-preview over Mixtral-8x7B, ten folds. For each fold so many labels of
the other nine are drawn and the fold is ranked; APGR is the full sweep, the mean over folds and, up to 1,000 labels, over
five such draws, with its standard error over all of them. Each penalty is printed, so that the best may be picked with
hindsight, which flatters the baseline.
Needs numpy, scikit-learn, tokenizers, onnx, onnxruntime and safetensors.
"""

import gzip
import json
import pathlib
import sys

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "crates/encoder/tests/reference"))
import onnx_bert  # noqa: E402

SEED = 7
DRAWS = 5
PENALTIES = {"TF-IDF": (0.3, 1, 3, 10), "frozen encoder": (1e-4, 1e-3, 1e-2, 1e-1)}


def rows(corpus):
    def lines(name):
        return [json.loads(line) for line in gzip.open(corpus / name)]

    scores = {}
    for outcome in lines("outcomes.jsonl.gz"):
        scores.setdefault(outcome["prompt_id"], {})[outcome["model"].startswith("gpt-4")] = outcome["score"]
    kept = [p for p in lines("prompts.jsonl.gz") if p["task"] == "mmlu" and not p.get("contaminated")]
    gains = np.array([scores[p["id"]][True] - scores[p["id"]][False] for p in kept])
    return [p["prompt"] for p in kept], gains, np.array([p["fold"] for p in kept])


def vectors(folder, texts, most=254):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    run = onnx_bert.session(onnx_bert.graph(folder).SerializeToString())

    def vector(encoding):
        ids = encoding.ids if len(encoding.ids) <= most else encoding.ids[: most // 2] + encoding.ids[-most // 2 :]
        return run.run(None, {"ids": np.array([ids])})[0][0]

    return np.stack([vector(encoding) for encoding in tokenizer.encode_batch(texts)])


def apgr(scores, gains):
    """The area under the gain of sending the highest scores first; ties share theirs."""
    _, at, count = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = (np.bincount(at, gains) / count)[at][np.argsort(at, kind="stable")]
    curve = np.concatenate([[0], np.cumsum(shared)]) / gains.sum()
    return float(np.mean((curve[1:] + curve[:-1]) / 2))


def features(kind, texts, encoded, train, test):
    if kind == "TF-IDF":
        words = TfidfVectorizer(
            ngram_range=(1, 2),
            sublinear_tf=True,
            min_df=1 if len(train) < 1000 else 2,
            token_pattern=r"(?u)\w+|[^\w\s]",
        )
        return words.fit_transform([texts[i] for i in train]), words.transform([texts[i] for i in test])
    mean, deviation = encoded[train].mean(0), encoded[train].std(0) + 1e-6
    return (encoded[train] - mean) / deviation, (encoded[test] - mean) / deviation


def main():
    corpus, encoder, *labels = sys.argv[1:]
    texts, gains, folds = rows(pathlib.Path(corpus))
    encoded = vectors(pathlib.Path(encoder), texts)
    random = np.random.default_rng(SEED)
    for count in map(int, labels or ("100", "300", "1000", "3000", "10000")):
        ranked = {}
        for fold in list(range(10)) * (DRAWS if count <= 1000 else 1):
            train = [i for i in random.permutation(len(texts)) if folds[i] != fold][:count]
            test = np.where(folds == fold)[0]
            for kind, penalties in PENALTIES.items():
                seen, unseen = features(kind, texts, encoded, train, test)
                for c in penalties:
                    fitted = LogisticRegression(C=c, max_iter=300).fit(seen, gains[train] > 0)
                    ranked.setdefault((kind, c), []).append(apgr(fitted.decision_function(unseen), gains[test]))
        for (kind, c), figures in ranked.items():
            mean, error = np.mean(figures), np.std(figures, ddof=1) / len(figures) ** 0.5
            print(f"{count:6} labels  {kind:14}  C {c:<7}  APGR {mean:.4f} +- {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
