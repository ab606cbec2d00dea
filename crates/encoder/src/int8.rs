//! The CPU engine in 8 bits: weights rounded per output, activations per token, products summed in 32-bit
//! integers, everything between the products in floats. The arithmetic is rten's kernels; this file only
//! strings them together in the order of `network.rs`.
//! (Zero points and scales: Jacob et al. 2018, sections 2.1-2.2, equation 7.)

use std::mem::take;
use std::sync::{Mutex, OnceLock, PoisonError};

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::{SimdOp, SimdUnaryOp};
use rten_tensor::NdTensorView;
use rten_vecmath::{
    ExtendInit, Gelu, MinMax, Normalize, NormalizeOptions, Quantize, Softmax, Sum, SumSquareSub,
};

use crate::weights::{Int8Matrix, Weights};
use crate::{EncoderConfig, EncoderError, Pooling};

type Integers = GemmExecutor<u8, i8, i32>;

/// The kernels of this processor. One pair for all: an executor may be shared between threads but not moved to
/// another, and an encoder is moved to where it serves.
fn kernels() -> (&'static Integers, &'static GemmExecutor) {
    static KERNELS: OnceLock<(&Integers, &GemmExecutor)> = OnceLock::new();
    *KERNELS.get_or_init(|| (Box::leak(Box::default()), Box::leak(Box::default())))
}

/// A BERT encoder with 8-bit weights.
pub(crate) struct Int8Bert {
    integers: &'static Integers,
    floats: &'static GemmExecutor,
    hidden: usize,
    heads: usize,
    epsilon: f32,
    words: Int8Matrix,
    /// `[positions, hidden]`.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    pooling: Pooling,
    /// `[hidden]`, for attention pooling.
    pooling_query: Option<Vec<f32>>,
    /// Buffers not in use; as many as ever ran at once.
    idle: Mutex<Vec<Buffers>>,
}

impl std::fmt::Debug for Int8Bert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kernel = self.integers.kernel_name();
        write!(f, "Int8Bert({} layers, hidden {}, {kernel})", self.layers.len(), self.hidden)
    }
}

struct Norm {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

/// `[from, to]`, packed for the kernel.
struct Linear {
    from: usize,
    packed: PackedBMatrix<i8>,
    /// Of each output.
    scales: Vec<f32>,
    /// Of each output's weights: what a zero point adds to its sum.
    totals: Vec<i32>,
    bias: Vec<f32>,
}

struct Layer {
    /// Query, key and value side by side; the query with the scale of the scores in it.
    projections: Linear,
    attended: Linear,
    attended_norm: Norm,
    widen: Linear,
    narrow: Linear,
    norm: Norm,
}

/// Buffers of one call, used again by the next.
#[derive(Default)]
struct Buffers {
    quantised: Vec<u8>,
    zero_points: Vec<u8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    x: Vec<f32>,
    /// Projections, and later the widened tokens.
    wide: Vec<f32>,
    /// What is added to x.
    addend: Vec<f32>,
    contexts: Vec<f32>,
    scores: Vec<f32>,
    context: Vec<f32>,
}

impl Int8Bert {
    pub(crate) fn new(weights: &Weights<'_>, config: &EncoderConfig) -> Result<Self, EncoderError> {
        let (integers, floats) = kernels();
        if integers.may_saturate() {
            return Err(EncoderError::NoInt8("this processor adds 8-bit products in 16 bits"));
        }
        let shape = &config.shape;
        let hidden = shape.hidden;
        let norm = |name: &str| -> Result<Norm, EncoderError> {
            let (scale, offset) = weights.norm(name, hidden)?;
            Ok(Norm { scale, offset })
        };
        let linear = |parts: &[(String, f32)], from: usize, to: usize| -> Result<Linear, EncoderError> {
            let (mut values, mut scales, mut bias) = (Vec::new(), Vec::new(), Vec::new());
            for (name, factor) in parts {
                let matrix = weights.int8(&format!("{name}.weight"), [to, from])?;
                values.extend(matrix.values);
                scales.extend(matrix.scales.iter().map(|s| s * factor));
                bias.extend(weights.values(&format!("{name}.bias"), &[to])?.iter().map(|b| b * factor));
            }
            // Stored as [to, from]; the kernel wants columns of outputs.
            let rows = NdTensorView::from_data([scales.len(), from], values.as_slice());
            let packed = integers.prepack_b(rows.transposed());
            let totals = values.chunks(from).map(|row| row.iter().map(|w| i32::from(*w)).sum()).collect();
            Ok(Linear { from, packed, scales, totals, bias })
        };
        let mut layers = Vec::with_capacity(shape.layers);
        for i in 0..shape.layers {
            let at = |name: &str| format!("encoder.layer.{i}.{name}");
            let of_scores = ((hidden / shape.heads) as f32).sqrt().recip();
            let projections = [("query", of_scores), ("key", 1.0), ("value", 1.0)]
                .map(|(name, factor)| (at(&format!("attention.self.{name}")), factor));
            layers.push(Layer {
                projections: linear(&projections, hidden, hidden)?,
                attended: linear(&[(at("attention.output.dense"), 1.0)], hidden, hidden)?,
                attended_norm: norm(&at("attention.output.LayerNorm"))?,
                widen: linear(&[(at("intermediate.dense"), 1.0)], hidden, shape.intermediate)?,
                narrow: linear(&[(at("output.dense"), 1.0)], shape.intermediate, hidden)?,
                norm: norm(&at("output.LayerNorm"))?,
            });
        }
        Ok(Self {
            hidden,
            heads: shape.heads,
            epsilon: shape.epsilon as f32,
            words: weights.int8("embeddings.word_embeddings.weight", [shape.vocabulary, hidden])?,
            positions: weights.positions(config)?,
            norm: norm("embeddings.LayerNorm")?,
            layers,
            pooling: config.pooling,
            pooling_query: weights.pooling_query(config)?,
            floats,
            integers,
            idle: Mutex::default(),
        })
    }

    /// The name of the kernel this processor runs.
    pub(crate) fn kernel(&self) -> &str {
        self.integers.kernel_name()
    }

    /// The vector of one text's ids; `ids` is within the vocabulary and the positions.
    pub(crate) fn embed(&self, ids: &[u32]) -> Vec<f32> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = idle().pop().unwrap_or_default();
        let vector = self.embed_with(ids, &mut buffers);
        idle().push(buffers);
        vector
    }

    fn embed_with(&self, ids: &[u32], buffers: &mut Buffers) -> Vec<f32> {
        let Buffers { x, wide, addend, contexts, scores, context, .. } = buffers;
        let (mut x, mut wide, mut addend) = (take(x), take(wide), take(addend));
        let (mut contexts, mut attention) = (take(contexts), (take(scores), take(context)));
        self.words(ids, &mut x);
        for layer in &self.layers {
            self.linear(&x, &layer.projections, buffers, &mut wide);
            self.attention(&wide, ids.len(), &mut attention, &mut contexts);
            self.linear(&contexts, &layer.attended, buffers, &mut addend);
            self.add_and_normalise(&mut x, &addend, &layer.attended_norm);
            self.linear(&x, &layer.widen, buffers, &mut wide);
            Gelu {}.map_mut(&mut wide);
            self.linear(&wide, &layer.narrow, buffers, &mut addend);
            self.add_and_normalise(&mut x, &addend, &layer.norm);
        }
        let vector = self.pool(&x);
        let (scores, context) = attention;
        *buffers = Buffers { x, wide, addend, contexts, scores, context, ..take(buffers) };
        vector
    }

    fn words(&self, ids: &[u32], x: &mut Vec<f32>) {
        x.clear();
        for (id, position) in ids.iter().zip(self.positions.chunks(self.hidden)) {
            let row = *id as usize;
            let scale = self.words.scales[row];
            let word = &self.words.values[row * self.hidden..][..self.hidden];
            x.extend(word.iter().zip(position).map(|(w, p)| f32::from(*w) * scale + p));
        }
        x.chunks_mut(self.hidden).for_each(|row| self.normalise(row, &self.norm));
    }

    /// `[tokens, from]` → `[tokens, to]`.
    fn linear(&self, x: &[f32], linear: &Linear, buffers: &mut Buffers, out: &mut Vec<f32>) {
        let (from, to) = (linear.from, linear.scales.len());
        let tokens = x.len() / from;
        buffers.quantise(x, from);
        let Buffers { quantised, zero_points, scales, sums, .. } = buffers;
        sums.resize(tokens * to, 0);
        let rows = NdTensorView::from_data([tokens, from], quantised.as_slice());
        // Zero points are taken out below: the kernel of rten-gemm 0.27 gives every panel of rows the zero
        // points of the first.
        let product = self.integers.gemm(
            sums,
            GemmInputA::Unpacked(rows),
            GemmInputB::Packed(&linear.packed),
            GemmOptions::default(),
        );
        debug_assert!(product.is_ok(), "shapes were checked when the weights were read");
        out.resize(tokens * to, 0.0);
        let rows = sums.chunks(to).zip(scales.iter().zip(zero_points.iter()));
        for (out, (sums, (scale, zero_point))) in out.chunks_mut(to).zip(rows) {
            linear.float(sums, *scale, i32::from(*zero_point), out);
        }
    }

    /// Projections `[tokens, 3 hidden]` → contexts `[tokens, hidden]`.
    fn attention(
        &self,
        projected: &[f32],
        tokens: usize,
        (scores, context): &mut (Vec<f32>, Vec<f32>),
        contexts: &mut Vec<f32>,
    ) {
        let (hidden, width) = (self.hidden, self.hidden / self.heads);
        let view = NdTensorView::from_data([tokens, 3 * hidden], projected);
        contexts.resize(tokens * hidden, 0.0);
        scores.resize(tokens * tokens, 0.0);
        context.resize(tokens * width, 0.0);
        for head in 0..self.heads {
            let part = |which: usize| {
                let start = which * hidden + head * width;
                view.slice((.., start..start + width))
            };
            self.float_product(scores, part(0), part(1).transposed());
            for row in scores.chunks_mut(tokens) {
                Softmax::new_mut(row).dispatch();
            }
            let weights = NdTensorView::from_data([tokens, tokens], scores.as_slice());
            self.float_product(context, weights, part(2));
            for (to, from) in contexts.chunks_mut(hidden).zip(context.chunks(width)) {
                to[head * width..][..width].copy_from_slice(from);
            }
        }
    }

    fn float_product(&self, out: &mut [f32], a: NdTensorView<'_, f32, 2>, b: NdTensorView<'_, f32, 2>) {
        let product =
            self.floats.gemm(out, GemmInputA::Unpacked(a), GemmInputB::Unpacked(b), GemmOptions::default());
        debug_assert!(product.is_ok(), "shapes follow from the number of tokens");
    }

    fn add_and_normalise(&self, x: &mut [f32], addend: &[f32], norm: &Norm) {
        x.iter_mut().zip(addend).for_each(|(x, a)| *x += a);
        x.chunks_mut(self.hidden).for_each(|row| self.normalise(row, norm));
    }

    fn normalise(&self, row: &mut [f32], norm: &Norm) {
        let n = row.len() as f32;
        let mean = Sum::new(row).dispatch() / n;
        let variance = SumSquareSub::new(row, mean).dispatch() / n;
        let options = NormalizeOptions {
            pre_scale_bias: mean,
            scale: (variance + self.epsilon).sqrt().recip(),
            element_scale: Some(&norm.scale),
            element_bias: Some(&norm.offset),
            ..NormalizeOptions::default()
        };
        Normalize::new_mut(row, options).dispatch();
    }

    fn pool(&self, x: &[f32]) -> Vec<f32> {
        let tokens = x.len() / self.hidden;
        let mut weights = match (self.pooling, &self.pooling_query) {
            (Pooling::Cls, _) => return x[..self.hidden].to_vec(),
            (Pooling::Attention, Some(query)) => {
                x.chunks(self.hidden).map(|row| row.iter().zip(query).map(|(x, q)| x * q).sum()).collect()
            }
            // Equal scores: the mean.
            (Pooling::Mean | Pooling::Attention, _) => vec![0f32; tokens],
        };
        Softmax::new_mut(&mut weights).dispatch();
        let mut pooled = vec![0f32; self.hidden];
        for (row, weight) in x.chunks(self.hidden).zip(weights) {
            pooled.iter_mut().zip(row).for_each(|(p, x)| *p += weight * x);
        }
        pooled
    }
}

impl Linear {
    /// Sums of products of one token as floats, its scale and zero point accounted for, plus the bias.
    fn float(&self, sums: &[i32], scale: f32, zero_point: i32, out: &mut [f32]) {
        let outputs = self.scales.iter().zip(&self.totals).zip(&self.bias);
        for ((out, sum), ((of_output, total), bias)) in out.iter_mut().zip(sums).zip(outputs) {
            *out = (sum - zero_point * total) as f32 * (scale * of_output) + bias;
        }
    }
}

impl Buffers {
    /// Rounds rows of `width` to 0..=255, each with a scale and a zero point of its own.
    fn quantise(&mut self, x: &[f32], width: usize) {
        let Self { quantised, zero_points, scales, .. } = self;
        quantised.clear();
        zero_points.clear();
        scales.clear();
        quantised.reserve(x.len());
        for row in x.chunks(width) {
            let (low, high) = MinMax::new(row).dispatch();
            // Zero stays exact.
            let (low, high) = (low.min(0.0), high.max(0.0));
            let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
            let zero_point = (-low / scale).round().clamp(0.0, 255.0) as u8;
            quantised.extend_init(|spare| {
                Quantize::new(row, &mut spare[..row.len()], scale.recip(), zero_point).dispatch()
            });
            scales.push(scale);
            zero_points.push(zero_point);
        }
    }
}
