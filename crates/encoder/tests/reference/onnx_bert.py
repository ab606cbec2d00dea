"""A BERT encoder as an ONNX graph, built from a checkpoint's folder: the reference Rung's own encoder is held to.

python onnx_bert.py graph FOLDER OUT.onnx [--layers K]      the graph, mean-pooled, batch 1
python onnx_bert.py int8 IN.onnx OUT.onnx                   weights in 8 bits per channel
python onnx_bert.py figures FOLDER OUT.json LENGTH...       vectors of fixed token ids, by ONNX Runtime in fp32
python onnx_bert.py time MODEL.onnx LENGTH...               median milliseconds of one thread
python onnx_bert.py tiny FOLDER                             a checkpoint of random weights, small enough to commit
"""

import argparse
import json
import pathlib
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file


def graph(folder, layers=None):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if v.dtype != np.int64}
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width, epsilon = hidden // heads, config["layer_norm_eps"]
    nodes, constants, fresh = [], {}, iter(range(10**6))

    def constant(value, name=None):
        name = name or f"c{next(fresh)}"
        constants[name] = np.asarray(value)
        return name

    def node(op, *inputs, **attributes):
        out = f"n{next(fresh)}"
        nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def linear(x, name):
        w = constant(weights[f"{name}.weight"].T.astype(np.float32), f"{name}.weight")
        return node("Add", node("MatMul", x, w), constant(weights[f"{name}.bias"]))

    def norm(x, name):
        scale, offset = constant(weights[f"{name}.weight"]), constant(weights[f"{name}.bias"])
        return node("LayerNormalization", x, scale, offset, epsilon=epsilon, axis=-1)

    words = constant(weights["embeddings.word_embeddings.weight"], "words")
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = node("Shape", "ids", start=1, end=2)
    position = node("Slice", constant(positions), constant(np.array([0])), length, constant(np.array([0])))
    x = norm(node("Add", node("Gather", words, "ids"), position), "embeddings.LayerNorm")
    split, merge = constant(np.array([0, 0, heads, width])), constant(np.array([0, 0, hidden]))
    scale = constant(np.float32(width**-0.5))
    for i in range(layers or config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        q, k, v = (node("Reshape", linear(x, f"{at}attention.self.{p}"), split) for p in ("query", "key", "value"))
        q, v = node("Transpose", q, perm=[0, 2, 1, 3]), node("Transpose", v, perm=[0, 2, 1, 3])
        scores = node("Mul", node("MatMul", q, node("Transpose", k, perm=[0, 2, 3, 1])), scale)
        context = node("MatMul", node("Softmax", scores, axis=-1), v)
        context = node("Reshape", node("Transpose", context, perm=[0, 2, 1, 3]), merge)
        x = norm(node("Add", linear(context, f"{at}attention.output.dense"), x), f"{at}attention.output.LayerNorm")
        h = linear(x, f"{at}intermediate.dense")
        h = node("Gelu", h)
        x = norm(node("Add", linear(h, f"{at}output.dense"), x), f"{at}output.LayerNorm")
    nodes.append(helper.make_node("ReduceMean", [x, constant(np.array([1]))], ["vector"], keepdims=0))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, hidden])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    body = helper.make_graph(nodes, "bert", [ids], [vector], initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def token_ids(length, vocabulary):
    """Ids that spread over the vocabulary; the same in the Rust test."""
    return [(7919 * (i + 1)) % vocabulary for i in range(length)]


def figures(folder, lengths):
    vocabulary = json.loads((pathlib.Path(folder) / "config.json").read_text())["vocab_size"]
    run = session(graph(folder).SerializeToString())
    vectors = {}
    for length in lengths:
        ids = np.array([token_ids(length, vocabulary)])
        vectors[str(length)] = [float(f"{v:.8g}") for v in run.run(None, {"ids": ids})[0][0]]
    return vectors


def tiny(folder):
    """Random weights of the scale of trained ones."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hidden, wide, vocabulary, positions = 16, 32, 64, 256
    config = {"model_type": "bert", "hidden_act": "gelu", "vocab_size": vocabulary, "hidden_size": hidden,
              "intermediate_size": wide, "num_hidden_layers": 2, "num_attention_heads": 4,
              "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
    rng = np.random.default_rng(7)
    draw = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)
    weights = {"embeddings.word_embeddings.weight": draw(vocabulary, hidden),
               "embeddings.position_embeddings.weight": draw(positions, hidden),
               "embeddings.token_type_embeddings.weight": draw(2, hidden)}
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        at = f"encoder.layer.{i}."
        for name, out, inside in [("attention.self.query", hidden, hidden), ("attention.self.key", hidden, hidden),
                                  ("attention.self.value", hidden, hidden), ("attention.output.dense", hidden, hidden),
                                  ("intermediate.dense", wide, hidden), ("output.dense", hidden, wide)]:
            weights[f"{at}{name}.weight"], weights[f"{at}{name}.bias"] = draw(out, inside), draw(out)
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + draw(hidden), draw(hidden)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [c for c in "abcdefghijklmnopqrstuvwxyz0123456789?"]
    words += ["##" + c for c in "aeinorst"] + ["the", "prove", "that", "open", "sunday", "what", "is", "prime", "when"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    # As published ones often are: with a padding and a truncation that must not count.
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["graph", "int8", "figures", "time", "tiny"])
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    if args.what == "graph":
        onnx.save(graph(args.paths[0], args.layers), args.paths[1])
    elif args.what == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(args.paths[0], args.paths[1], per_channel=True, weight_type=QuantType.QInt8)
    elif args.what == "figures":
        folder, out, *lengths = args.paths
        pathlib.Path(out).write_text(json.dumps(figures(folder, map(int, lengths))) + "\n")
    elif args.what == "tiny":
        tiny(args.paths[0])
    else:
        model, *lengths = args.paths
        run, vocabulary = session(model), 30522
        medians = {}
        for length in map(int, lengths):
            ids, times = {"ids": np.array([token_ids(length, vocabulary)])}, []
            for _ in range(60):
                start = time.perf_counter()
                run.run(None, ids)
                times.append(1e3 * (time.perf_counter() - start))
            medians[length] = round(float(np.median(times[10:])), 3)
        print(json.dumps(medians))


if __name__ == "__main__":
    main()
