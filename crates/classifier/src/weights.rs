//! Weights as safetensors bytes and back. Names and shapes are checked one by one:
//! a file that lacks, adds or reshapes a tensor is refused with the tensor's name.

use burn::module::Param;
use burn::tensor::{Device, Shape, Tensor, TensorData};
use features::{FeatureConfig, SURFACE_LEN};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use thiserror::Error;
use types::ModelName;

use crate::verifier::{Standard, UsualLengths, WideWeights};
use crate::{
    Abilities, Classifier, GeneralAxis, Network, NetworkConfig, NgramTable, VERIFIER_DENSE_LEN, Verifier,
};

/// Why weights were refused.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Not a safetensors file, or cut short.
    #[error("not a readable safetensors file: {0}")]
    Format(String),
    /// A tensor that the configuration asks for is not there.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// A tensor of another shape or type than the configuration asks for.
    #[error("tensor {name}: expected {expected}, found {found}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// What the configuration asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A tensor with NaN or infinite values.
    #[error("tensor {0} holds values that are not finite")]
    NotFinite(String),
    /// A table of n-grams that is out of order or holds an idf that is none.
    #[error("tensor {0}: expected ascending hashes with a positive idf each")]
    Ngrams(String),
    /// A standard deviation that is none.
    #[error("tensor {0}: expected numbers above 0")]
    NotPositive(String),
    /// Tensors beyond those the configuration asks for.
    #[error("unexpected tensors: {0:?}")]
    Unexpected(Vec<String>),
    /// The device could not give a tensor back.
    #[error("tensor {name} could not be read from the device: {reason}")]
    Device {
        /// Name of the tensor.
        name: String,
        /// What the backend said.
        reason: String,
    },
}

struct Plain {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn plain(shape: Vec<usize>, values: &[f32]) -> Plain {
    Plain { dtype: Dtype::F32, shape, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
}

/// Copies a tensor to the host.
fn host<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<Plain, WeightsError> {
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().try_to_vec::<f32>();
    let values =
        values.map_err(|e| WeightsError::Device { name: name.to_owned(), reason: format!("{e:?}") })?;
    Ok(plain(shape, &values))
}

fn tensors(network: &Network, abilities: &Abilities) -> Result<Vec<(&'static str, Plain)>, WeightsError> {
    fn take<const D: usize>(
        name: &'static str,
        param: &Param<Tensor<D>>,
    ) -> Result<(&'static str, Plain), WeightsError> {
        Ok((name, host(name, param.val())?))
    }
    let mut all = vec![
        take("network.wide", &network.wide.weight)?,
        take("network.tokens", &network.tokens.weight)?,
        take("network.surface_mean", &network.surface_mean)?,
        take("network.surface_scale", &network.surface_scale)?,
        take("network.hidden.weight", &network.hidden.weight)?,
        take("network.output.weight", &network.output.weight)?,
        take("network.linear", &network.linear.weight)?,
        take("abilities.success", &abilities.success)?,
        take("abilities.success_bias", &abilities.success_bias)?,
        take("abilities.preference", &abilities.preference)?,
        take("abilities.preference_bias", &abilities.preference_bias)?,
        take("abilities.tie", &abilities.tie)?,
    ];
    // A fast tier has no encoder: tensors without a value are not stored.
    if network.embedding_mean.val().dims() != [0] {
        all.push(take("network.embedding_mean", &network.embedding_mean)?);
        all.push(take("network.embedding_scale", &network.embedding_scale)?);
    }
    for (name, linear) in [("network.hidden.bias", &network.hidden), ("network.output.bias", &network.output)]
    {
        if let Some(bias) = &linear.bias {
            all.push(take(name, bias)?);
        }
    }
    Ok(all)
}

/// Serialises a classifier: the same weights give the same bytes.
pub(crate) fn to_bytes(
    network: &Network,
    abilities: &Abilities,
    ngrams: &NgramTable,
) -> Result<Vec<u8>, WeightsError> {
    let mut all = tensors(network, abilities)?;
    all.extend(table(NGRAMS, ngrams));
    serialize(all)
}

/// Names of the columns of a table of n-grams.
#[derive(Clone, Copy)]
struct TableNames {
    hashes: &'static str,
    idf: &'static str,
}

const NGRAMS: TableNames = TableNames { hashes: "ngrams.hashes", idf: "ngrams.idf" };
const QUERY_NGRAMS: TableNames = TableNames { hashes: "query.hashes", idf: "query.idf" };
const ANSWER_NGRAMS: TableNames = TableNames { hashes: "answer.hashes", idf: "answer.idf" };

/// The columns of a table of n-grams.
fn table(names: TableNames, ngrams: &NgramTable) -> [(&'static str, Plain); 2] {
    let bytes = ngrams.hashes().iter().flat_map(|h| h.to_le_bytes()).collect();
    let hashes = Plain { dtype: Dtype::U64, shape: vec![ngrams.len()], bytes };
    [(names.idf, column(ngrams.idf())), (names.hashes, hashes)]
}

fn column(values: &[f32]) -> Plain {
    plain(vec![values.len()], values)
}

fn serialize(mut all: Vec<(&'static str, Plain)>) -> Result<Vec<u8>, WeightsError> {
    all.sort_by_key(|(name, _)| *name);
    let views: Result<Vec<_>, SafeTensorError> = all
        .iter()
        .map(|(name, tensor)| {
            Ok((*name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?))
        })
        .collect();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| WeightsError::Format(e.to_string()))
}

/// Serialises a general axis.
pub(crate) fn axis_to_bytes(axis: &GeneralAxis) -> Result<Vec<u8>, WeightsError> {
    let mut all = vec![
        ("wide", column(&axis.wide)),
        ("surface", column(&axis.surface)),
        ("surface_mean", column(&axis.surface_mean)),
        ("surface_scale", column(&axis.surface_scale)),
    ];
    all.extend(table(NGRAMS, &axis.ngrams));
    serialize(all)
}

/// Restores a general axis from bytes written by [`axis_to_bytes`].
pub(crate) fn axis_from_bytes(bytes: &[u8]) -> Result<GeneralAxis, WeightsError> {
    let mut reader = Reader::new(bytes)?;
    let ngrams = reader.ngrams(NGRAMS)?;
    let axis = GeneralAxis {
        wide: reader.values("wide", &[ngrams.len()])?,
        surface: reader.values("surface", &[SURFACE_LEN])?,
        surface_mean: reader.values("surface_mean", &[SURFACE_LEN])?,
        surface_scale: reader.values("surface_scale", &[SURFACE_LEN])?,
        ngrams,
    };
    reader.finish()?;
    Ok(axis)
}

/// Serialises a verifier.
pub(crate) fn verifier_to_bytes(verifier: &Verifier) -> Result<Vec<u8>, WeightsError> {
    let mut all = vec![
        ("query.weights", column(&verifier.query.weights)),
        ("answer.weights", column(&verifier.answer.weights)),
        ("dense.mean", column(&verifier.standard.mean)),
        ("dense.scale", column(&verifier.standard.scale)),
        ("dense.shared", column(&verifier.shared)),
        ("dense.by_model", column(&verifier.by_model)),
        ("lengths.mean", column(&verifier.lengths.mean)),
        ("lengths.deviation", column(&verifier.lengths.deviation)),
    ];
    all.extend(table(QUERY_NGRAMS, &verifier.query.ngrams));
    all.extend(table(ANSWER_NGRAMS, &verifier.answer.ngrams));
    serialize(all)
}

/// Restores a verifier from bytes written by [`verifier_to_bytes`].
pub(crate) fn verifier_from_bytes(
    bytes: &[u8],
    features: FeatureConfig,
    models: Vec<ModelName>,
    tasks: Vec<String>,
) -> Result<Verifier, WeightsError> {
    let mut reader = Reader::new(bytes)?;
    let cells = [(tasks.len() + 1) * (models.len() + 1)];
    let (query, answer) = (reader.ngrams(QUERY_NGRAMS)?, reader.ngrams(ANSWER_NGRAMS)?);
    let verifier = Verifier {
        query: WideWeights { weights: reader.values("query.weights", &[query.len()])?, ngrams: query },
        answer: WideWeights { weights: reader.values("answer.weights", &[answer.len()])?, ngrams: answer },
        standard: Standard {
            mean: reader.values("dense.mean", &[VERIFIER_DENSE_LEN])?,
            scale: reader.values("dense.scale", &[VERIFIER_DENSE_LEN])?,
        },
        shared: reader.values("dense.shared", &[VERIFIER_DENSE_LEN + 1])?,
        by_model: reader.values("dense.by_model", &[models.len() * (VERIFIER_DENSE_LEN + 1)])?,
        lengths: UsualLengths {
            tasks,
            mean: reader.values("lengths.mean", &cells)?,
            deviation: reader.values("lengths.deviation", &cells)?,
        },
        features,
        models,
    };
    reader.finish()?;
    if verifier.lengths.deviation.iter().any(|deviation| *deviation <= 0.0) {
        return Err(WeightsError::NotPositive("lengths.deviation".to_owned()));
    }
    Ok(verifier)
}

/// Gives the name and the bytes of every tensor of the query network, in the order of their names: what the
/// latent vector depends on, whichever models there are.
///
/// # Errors
/// When the bytes are no safetensors file.
pub fn for_each_network_tensor(bytes: &[u8], mut each: impl FnMut(&str, &[u8])) -> Result<(), WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let mut tensors = file.tensors();
    tensors.retain(|(name, _)| !name.starts_with("abilities."));
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, tensor) in tensors {
        each(&name, tensor.data());
    }
    Ok(())
}

struct Reader<'a> {
    file: SafeTensors<'a>,
    read: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
        Ok(Self { file, read: Vec::new() })
    }

    /// Refuses tensors that nothing asked for.
    fn finish(self) -> Result<(), WeightsError> {
        let names = self.file.names().into_iter();
        let extra: Vec<String> = names.filter(|n| !self.read.contains(n)).map(str::to_owned).collect();
        if extra.is_empty() { Ok(()) } else { Err(WeightsError::Unexpected(extra)) }
    }

    /// The bytes of a tensor of this type and shape; any length where `shape` is `None`.
    fn bytes(
        &mut self,
        name: &'static str,
        dtype: Dtype,
        shape: Option<&[usize]>,
    ) -> Result<&[u8], WeightsError> {
        let view = self.file.tensor(name).map_err(|_| WeightsError::Missing(name.to_owned()))?;
        if view.dtype() != dtype || shape.is_some_and(|s| s != view.shape()) {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                expected: format!("{dtype:?} of shape {shape:?}"),
                found: format!("{:?} of shape {:?}", view.dtype(), view.shape()),
            });
        }
        self.read.push(name);
        Ok(view.data())
    }

    fn ngrams(&mut self, names: TableNames) -> Result<NgramTable, WeightsError> {
        let (chunks, _) = self.bytes(names.hashes, Dtype::U64, None)?.as_chunks::<8>();
        let hashes: Vec<u64> = chunks.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let idf = self.values(names.idf, &[hashes.len()])?;
        NgramTable::new(hashes, idf).ok_or_else(|| WeightsError::Ngrams(names.hashes.to_owned()))
    }

    fn values(&mut self, name: &'static str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let (chunks, _) = self.bytes(name, Dtype::F32, Some(shape))?.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if values.iter().all(|v| v.is_finite()) {
            return Ok(values);
        }
        Err(WeightsError::NotFinite(name.to_owned()))
    }
}

/// Gives tensors on a device.
struct OnDevice<'a> {
    reader: Reader<'a>,
    device: &'a Device,
}

impl OnDevice<'_> {
    fn param<const D: usize>(
        &mut self,
        name: &'static str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, WeightsError> {
        let data = TensorData::new(self.reader.values(name, &shape)?, Shape::from(shape));
        Ok(Param::from_tensor(Tensor::from_data(data, self.device)))
    }
}

/// Restores a classifier from bytes written by [`to_bytes`].
pub(crate) fn from_bytes(
    bytes: &[u8],
    config: &NetworkConfig,
    models: Vec<ModelName>,
    device: &Device,
) -> Result<Classifier, WeightsError> {
    let mut reader = OnDevice { reader: Reader::new(bytes)?, device };
    let (latent, m) = (config.latent, models.len());
    let tokens = 1 << config.features.token_bits;
    let ngrams = reader.reader.ngrams(NGRAMS)?;
    let pooled = 2 * config.token_dim + SURFACE_LEN;
    let mut network = config.init(ngrams.len(), device);
    network.wide.weight = reader.param("network.wide", [ngrams.len().max(1), latent])?;
    network.tokens.weight = reader.param("network.tokens", [tokens, config.token_dim])?;
    network.surface_mean = reader.param("network.surface_mean", [SURFACE_LEN])?;
    network.surface_scale = reader.param("network.surface_scale", [SURFACE_LEN])?;
    network.hidden.weight = reader.param("network.hidden.weight", [pooled, config.hidden])?;
    network.hidden.bias = Some(reader.param("network.hidden.bias", [config.hidden])?);
    network.output.weight = reader.param("network.output.weight", [config.hidden, latent])?;
    network.output.bias = Some(reader.param("network.output.bias", [latent])?);
    network.linear.weight = reader.param("network.linear", [SURFACE_LEN + config.embedding, latent])?;
    if config.embedding > 0 {
        network.embedding_mean = reader.param("network.embedding_mean", [config.embedding])?;
        network.embedding_scale = reader.param("network.embedding_scale", [config.embedding])?;
    }
    let abilities = Abilities {
        success: reader.param("abilities.success", [latent, m])?,
        success_bias: reader.param("abilities.success_bias", [m])?,
        preference: reader.param("abilities.preference", [latent, m])?,
        preference_bias: reader.param("abilities.preference_bias", [m])?,
        tie: reader.param("abilities.tie", [1])?,
    };
    reader.reader.finish()?;
    Ok(Classifier::new(config.clone(), network, abilities, ngrams, models, device.clone()))
}
