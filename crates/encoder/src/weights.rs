//! Weights as safetensors under the names of the public checkpoints, and back. Matrices may be 8-bit, symmetric
//! with a scale per row (`NAME` as I8 beside `NAME.scale`), and the table of words 4-bit with a scale per group of
//! 32 (`NAME.int4`, two to a byte, beside `NAME.scale`): most of a small encoder is that table.

use burn::module::Param;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Shape as BurnShape, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::network::Block;
use crate::{Bert, EncoderConfig, EncoderError, Pooling};

/// How matrices are stored; vectors are always 32-bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Full,
    /// 16-bit floats.
    Half,
    /// 8-bit integers with a scale per row: within 1/254 of the row's largest entry.
    Int8,
    /// The same with 4-bit words: within 1/14 of the group's largest entry.
    Int4Words,
}

const POOLING_QUERY: &str = "rung.pooling.query";
const SCALE: &str = ".scale";
const INT4: &str = ".int4";

/// Entries that share a scale in a 4-bit table.
const GROUP: usize = 32;

/// The tensors of a file.
pub(crate) struct Weights<'a> {
    file: SafeTensors<'a>,
    /// What the file puts before every name.
    prefix: &'static str,
}

/// A matrix of 8-bit rows: `value = quantised x scale of the row`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Int8Matrix {
    pub(crate) values: Vec<i8>,
    pub(crate) scales: Vec<f32>,
}

impl Int8Matrix {
    /// Rounds rows of `width`; the largest entry of a row becomes 127.
    pub(crate) fn quantise(values: &[f32], width: usize) -> Self {
        let mut matrix = Self { values: Vec::with_capacity(values.len()), scales: Vec::new() };
        for row in values.chunks(width) {
            let largest = row.iter().fold(0f32, |most, v| most.max(v.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            matrix.scales.push(scale);
            matrix.values.extend(row.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8));
        }
        matrix
    }

    fn floats(&self, width: usize) -> Vec<f32> {
        let rows = self.values.chunks(width).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |v| f32::from(*v) * scale)).collect()
    }
}

impl<'a> Weights<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, EncoderError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| EncoderError::Weights(e.to_string()))?;
        let prefixed = file.names().iter().any(|n| n.starts_with("bert.embeddings."));
        Ok(Self { file, prefix: if prefixed { "bert." } else { "" } })
    }

    fn view(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, EncoderError> {
        let full = if name.starts_with("rung.") { name.to_owned() } else { format!("{}{name}", self.prefix) };
        let view = self.file.tensor(&full).map_err(|_| EncoderError::Missing(full.clone()))?;
        if view.shape() != shape {
            return Err(EncoderError::Tensor {
                name: full,
                expected: format!("shape {shape:?}"),
                found: format!("shape {:?}", view.shape()),
            });
        }
        Ok(view)
    }

    /// A 4-bit matrix as floats; `None` where the file has none of this name.
    fn int4(&self, name: &str, shape: &[usize]) -> Option<Result<Vec<f32>, EncoderError>> {
        let packed = format!("{name}{INT4}");
        self.file.tensor(&format!("{}{packed}", self.prefix)).ok()?;
        let [rows, width] = shape else { return None };
        let floats = || {
            if !width.is_multiple_of(GROUP) {
                return Err(EncoderError::Tensor {
                    name: packed.clone(),
                    expected: format!("rows of whole groups of {GROUP}"),
                    found: format!("shape {shape:?}"),
                });
            }
            let nibbles = self.view(&packed, &[*rows, width / 2])?;
            let scales = self.values(&format!("{name}{SCALE}"), &[*rows, width / GROUP])?;
            let values = nibbles.data().iter().flat_map(|byte| [byte & 15, byte >> 4]);
            let scales = scales.iter().flat_map(|scale| std::iter::repeat_n(*scale, GROUP));
            Ok(values.zip(scales).map(|(nibble, scale)| (f32::from(nibble) - 8.0) * scale).collect())
        };
        Some(floats())
    }

    /// The values of a tensor of this shape as floats.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EncoderError> {
        if let Some(values) = self.int4(name, shape) {
            return values;
        }
        let view = self.view(name, shape)?;
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::I8 => {
                let scales = self.values(&format!("{name}{SCALE}"), &shape[..1])?;
                let matrix = Int8Matrix { values: bytes.iter().map(|b| b.cast_signed()).collect(), scales };
                matrix.floats(shape.last().copied().unwrap_or(1))
            }
            other => {
                return Err(EncoderError::Tensor {
                    name: name.to_owned(),
                    expected: "F32, F16, BF16 or I8".to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(EncoderError::NotFinite(name.to_owned()))
        }
    }

    /// A matrix as 8-bit rows: as stored, or rounded.
    #[cfg(feature = "int8")]
    pub(crate) fn int8(&self, name: &str, shape: [usize; 2]) -> Result<Int8Matrix, EncoderError> {
        let stored = self.view(name, &shape).ok().filter(|view| view.dtype() == Dtype::I8);
        let Some(view) = stored else {
            return Ok(Int8Matrix::quantise(&self.values(name, &shape)?, shape[1]));
        };
        let scales = self.values(&format!("{name}{SCALE}"), &shape[..1])?;
        Ok(Int8Matrix { values: view.data().iter().map(|b| b.cast_signed()).collect(), scales })
    }

    /// Scale and offset of a layer normalisation; old checkpoints call them gamma and beta.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<(Vec<f32>, Vec<f32>), EncoderError> {
        let either = |new: &str, old: &str| {
            let value = self.values(&format!("{name}.{new}"), &[width]);
            match value {
                Err(EncoderError::Missing(_)) => self.values(&format!("{name}.{old}"), &[width]),
                value => value,
            }
        };
        Ok((either("weight", "gamma")?, either("bias", "beta")?))
    }

    /// Rows of positions with the first token type's row added, `[positions, hidden]`.
    pub(crate) fn positions(&self, config: &EncoderConfig) -> Result<Vec<f32>, EncoderError> {
        let shape = &config.shape;
        let mut positions =
            self.values("embeddings.position_embeddings.weight", &[shape.positions, shape.hidden])?;
        let types =
            self.values("embeddings.token_type_embeddings.weight", &[shape.token_types, shape.hidden])?;
        for row in positions.chunks_mut(shape.hidden) {
            row.iter_mut().zip(&types).for_each(|(position, kind)| *position += kind);
        }
        Ok(positions)
    }

    /// The vector of attention pooling; zero, which is the mean, where the file has none.
    pub(crate) fn pooling_query(&self, config: &EncoderConfig) -> Result<Option<Vec<f32>>, EncoderError> {
        if config.pooling != Pooling::Attention {
            return Ok(None);
        }
        match self.values(POOLING_QUERY, &[config.shape.hidden]) {
            Err(EncoderError::Missing(_)) => Ok(Some(vec![0.0; config.shape.hidden])),
            found => found.map(Some),
        }
    }

    /// The burn module.
    pub(crate) fn bert(&self, config: &EncoderConfig, device: &Device) -> Result<Bert, EncoderError> {
        let shape = &config.shape;
        let (vocabulary, hidden) = (shape.vocabulary, shape.hidden);
        let words = self.values("embeddings.word_embeddings.weight", &[vocabulary, hidden])?;
        let norm = |name: &str| -> Result<LayerNorm, EncoderError> {
            let mut norm = LayerNormConfig::new(hidden).with_epsilon(shape.epsilon).init(device);
            let (gamma, beta) = self.norm(name, hidden)?;
            norm.gamma = param(gamma, [hidden], device);
            norm.beta = Some(param(beta, [hidden], device));
            Ok(norm)
        };
        let layers = (0..shape.layers).map(|i| {
            let at = |name: &str| format!("encoder.layer.{i}.{name}");
            let linear = |name: &str, from: usize, to: usize| self.linear(&at(name), from, to, device);
            Ok(Block {
                query: linear("attention.self.query", hidden, hidden)?,
                key: linear("attention.self.key", hidden, hidden)?,
                value: linear("attention.self.value", hidden, hidden)?,
                attended: linear("attention.output.dense", hidden, hidden)?,
                attended_norm: norm(&at("attention.output.LayerNorm"))?,
                widen: linear("intermediate.dense", hidden, shape.intermediate)?,
                narrow: linear("output.dense", shape.intermediate, hidden)?,
                norm: norm(&at("output.LayerNorm"))?,
            })
        });
        let layers = layers.collect::<Result<_, EncoderError>>()?;
        Ok(Bert {
            words: table(words, [vocabulary, hidden], device),
            positions: table(self.positions(config)?, [shape.positions, hidden], device),
            norm: norm("embeddings.LayerNorm")?,
            layers,
            pooling_query: self.pooling_query(config)?.map(|query| param(query, [hidden], device)),
        })
    }

    fn linear(&self, name: &str, from: usize, to: usize, device: &Device) -> Result<Linear, EncoderError> {
        let weight = self.values(&format!("{name}.weight"), &[to, from])?;
        let mut linear = LinearConfig::new(from, to).init(device);
        linear.weight = param(transpose(&weight, to, from), [from, to], device);
        linear.bias = Some(param(self.values(&format!("{name}.bias"), &[to])?, [to], device));
        Ok(linear)
    }
}

fn param<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, BurnShape::from(shape)), device))
}

fn table(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Embedding {
    let mut table = EmbeddingConfig::new(1, shape[1]).init(device);
    table.weight = param(values, shape, device);
    table
}

/// `[rows, columns]` → `[columns, rows]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])).collect()
}

struct Plain {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects the tensors of a file in one precision.
struct Writer {
    precision: Precision,
    tensors: Vec<Plain>,
}

impl Writer {
    fn push(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.tensors.push(Plain { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes });
    }

    fn vector(&mut self, name: &str, values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.push(name, Dtype::F32, &[values.len()], bytes);
    }

    fn matrix(&mut self, name: &str, shape: [usize; 2], values: &[f32]) {
        match self.precision {
            Precision::Full => {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                self.push(name, Dtype::F32, &shape, bytes);
            }
            Precision::Half => {
                let bytes = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
                self.push(name, Dtype::F16, &shape, bytes);
            }
            Precision::Int8 | Precision::Int4Words => {
                let matrix = Int8Matrix::quantise(values, shape[1]);
                let bytes = matrix.values.iter().map(|v| v.cast_unsigned()).collect();
                self.push(name, Dtype::I8, &shape, bytes);
                self.vector(&format!("{name}{SCALE}"), &matrix.scales);
            }
        }
    }

    /// Rows in 4 bits: -7 to 7 times the scale of the group, whose largest entry becomes 7.
    fn int4(&mut self, name: &str, [rows, width]: [usize; 2], values: &[f32]) {
        let (mut packed, mut scales) = (Vec::with_capacity(values.len() / 2), Vec::new());
        for group in values.chunks(GROUP) {
            let largest = group.iter().fold(0f32, |most, v| most.max(v.abs()));
            let scale = f16::from_f32(if largest > 0.0 { largest / 7.0 } else { 1.0 });
            scales.extend(scale.to_le_bytes());
            let nibble = |v: f32| ((v / scale.to_f32()).round().clamp(-7.0, 7.0) + 8.0) as u8;
            packed.extend(group.chunks(2).map(|two| nibble(two[0]) | nibble(two[1]) << 4));
        }
        self.push(&format!("{name}{INT4}"), Dtype::U8, &[rows, width / 2], packed);
        self.push(&format!("{name}{SCALE}"), Dtype::F16, &[rows, width / GROUP], scales);
    }

    fn words(&mut self, name: &str, table: &Embedding) -> Result<(), EncoderError> {
        let shape = table.weight.val().dims();
        if self.precision != Precision::Int4Words || !shape[1].is_multiple_of(GROUP) {
            return self.table(name, table);
        }
        let values = host(name, table.weight.val())?;
        self.int4(name, shape, &values);
        Ok(())
    }

    fn table(&mut self, name: &str, table: &Embedding) -> Result<(), EncoderError> {
        let values = host(name, table.weight.val())?;
        self.matrix(name, table.weight.val().dims(), &values);
        Ok(())
    }

    fn linear(&mut self, name: &str, linear: &Linear) -> Result<(), EncoderError> {
        let [from, to] = linear.weight.val().dims();
        let weight = host(name, linear.weight.val())?;
        self.matrix(&format!("{name}.weight"), [to, from], &transpose(&weight, from, to));
        let bias = linear.bias.as_ref().map_or_else(|| Ok(vec![0.0; to]), |b| host(name, b.val()))?;
        self.vector(&format!("{name}.bias"), &bias);
        Ok(())
    }

    fn norm(&mut self, name: &str, norm: &LayerNorm) -> Result<(), EncoderError> {
        let gamma = host(name, norm.gamma.val())?;
        let beta = norm.beta.as_ref().map_or_else(|| Ok(vec![0.0; gamma.len()]), |b| host(name, b.val()))?;
        self.vector(&format!("{name}.weight"), &gamma);
        self.vector(&format!("{name}.bias"), &beta);
        Ok(())
    }
}

fn host<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<Vec<f32>, EncoderError> {
    let values = tensor.into_data().try_to_vec::<f32>();
    values.map_err(|e| EncoderError::Device { name: name.to_owned(), reason: format!("{e:?}") })
}

/// Writes a module as safetensors; equal weights give equal bytes. The token types are part of the positions,
/// so the file holds one token type of zeros.
pub(crate) fn to_bytes(
    bert: &Bert,
    config: &EncoderConfig,
    precision: Precision,
) -> Result<Vec<u8>, EncoderError> {
    let mut writer = Writer { precision, tensors: Vec::new() };
    writer.words("embeddings.word_embeddings.weight", &bert.words)?;
    writer.table("embeddings.position_embeddings.weight", &bert.positions)?;
    let (types, hidden) = (config.shape.token_types, config.shape.hidden);
    writer.matrix("embeddings.token_type_embeddings.weight", [types, hidden], &vec![0.0; types * hidden]);
    writer.norm("embeddings.LayerNorm", &bert.norm)?;
    for (i, block) in bert.layers.iter().enumerate() {
        let at = |name: &str| format!("encoder.layer.{i}.{name}");
        writer.linear(&at("attention.self.query"), &block.query)?;
        writer.linear(&at("attention.self.key"), &block.key)?;
        writer.linear(&at("attention.self.value"), &block.value)?;
        writer.linear(&at("attention.output.dense"), &block.attended)?;
        writer.norm(&at("attention.output.LayerNorm"), &block.attended_norm)?;
        writer.linear(&at("intermediate.dense"), &block.widen)?;
        writer.linear(&at("output.dense"), &block.narrow)?;
        writer.norm(&at("output.LayerNorm"), &block.norm)?;
    }
    if let Some(query) = &bert.pooling_query {
        writer.vector(POOLING_QUERY, &host(POOLING_QUERY, query.val())?);
    }
    writer.tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let views: Result<Vec<_>, SafeTensorError> = writer
        .tensors
        .iter()
        .map(|t| Ok((t.name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| EncoderError::Weights(e.to_string()))
}
