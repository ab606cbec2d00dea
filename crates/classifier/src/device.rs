//! Where tensors live. The one place that knows which backends this build carries, and which adapter of a GPU
//! backend is meant.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use thiserror::Error;

/// A backend to train or serve on. Written `flex`, `ndarray`, `wgpu` or `wgpu:ADAPTER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// CPU, always there.
    #[default]
    Flex,
    /// CPU, flex's predecessor (cargo feature `ndarray`).
    Ndarray,
    /// GPU through wgpu (cargo feature `wgpu`).
    Wgpu(Adapter),
}

/// Which of the machine's adapters wgpu computes on. Indices count the adapters of one kind from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adapter {
    /// The one with the most power, or what `CUBECL_WGPU_DEFAULT_DEVICE` says.
    #[default]
    Default,
    /// A card of its own.
    Discrete(usize),
    /// A part of the processor.
    Integrated(usize),
    /// A share of a card, given to a virtual machine.
    Virtual(usize),
    /// A software driver, such as Mesa's lavapipe.
    Cpu,
}

/// Why a backend cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackendError {
    /// Not a backend's name.
    #[error("unknown backend {0:?}: expected {EXPECTED}", EXPECTED = Backend::EXPECTED)]
    Unknown(String),
    /// Left out of this build.
    #[error("this build carries no {0} backend: build with --features {0}")]
    NotBuilt(&'static str),
    /// No adapter answers, or not the one asked for.
    #[error(
        "no adapter for {} ({reason}): install a Vulkan driver (Mesa's lavapipe works without a GPU), choose \
         another adapter or use flex",
        Backend::Wgpu(*adapter)
    )]
    NoAdapter {
        /// What was asked for.
        adapter: Adapter,
        /// What the graphics API said.
        reason: String,
    },
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
            Self::Wgpu(Adapter::Default) => f.write_str("wgpu"),
            Self::Wgpu(adapter) => write!(f, "wgpu:{adapter}"),
        }
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let unknown = || BackendError::Unknown(name.to_owned());
        match name.split_once(':') {
            None if name == "flex" => Ok(Self::Flex),
            None if name == "ndarray" => Ok(Self::Ndarray),
            None if name == "wgpu" => Ok(Self::Wgpu(Adapter::Default)),
            Some(("wgpu", adapter)) => Adapter::parse(adapter).map(Self::Wgpu).ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, index) = match self {
            Self::Default => ("default", 0),
            Self::Discrete(index) => ("discrete", *index),
            Self::Integrated(index) => ("integrated", *index),
            Self::Virtual(index) => ("virtual", *index),
            Self::Cpu => ("cpu", 0),
        };
        f.write_str(kind)?;
        if index > 0 { write!(f, ":{index}") } else { Ok(()) }
    }
}

impl Adapter {
    /// Parses `default`, `discrete[:N]`, `integrated[:N]`, `virtual[:N]` or `cpu`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().ok()?)),
            None => (text, None),
        };
        match (kind, index) {
            ("default", None) => Some(Self::Default),
            ("cpu", None) => Some(Self::Cpu),
            ("discrete", index) => Some(Self::Discrete(index.unwrap_or(0))),
            ("integrated", index) => Some(Self::Integrated(index.unwrap_or(0))),
            ("virtual", index) => Some(Self::Virtual(index.unwrap_or(0))),
            _ => None,
        }
    }
}

impl Backend {
    /// What a backend may be called.
    pub const EXPECTED: &str = "flex, ndarray or wgpu[:ADAPTER], the adapter default, discrete[:N], \
         integrated[:N], virtual[:N] or cpu";

    /// The device of this backend. A GPU is opened once in a process, later calls share it.
    ///
    /// # Errors
    /// When the build lacks it or no such adapter answers.
    pub fn device(self) -> Result<Device, BackendError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            Self::Ndarray => ndarray(),
            Self::Wgpu(adapter) => Ok(gpu::open(adapter)?.device),
        }
    }

    /// Whether this backend computes on a GPU.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Wgpu(_))
    }

    /// This backend where it is one of the CPU, flex in place of a GPU: where the classifiers of a server compute.
    /// They take microseconds there, less than it takes to ask a GPU, which can also be lost.
    #[must_use]
    pub fn on_cpu(self) -> Self {
        if self.is_gpu() { Self::Flex } else { self }
    }

    /// Whether 16-bit floats are worth their rounding: on an adapter that computes in them, but for software
    /// drivers, which convert every operand.
    ///
    /// # Errors
    /// See [`Backend::device`].
    pub fn half_pays(self) -> Result<bool, BackendError> {
        match self {
            Self::Flex | Self::Ndarray => Ok(false),
            Self::Wgpu(adapter) => {
                let gpu = gpu::open(adapter)?;
                Ok(!gpu.software && gpu.device.supports_dtype(burn::tensor::FloatDType::F16))
            }
        }
    }
}

#[cfg(feature = "ndarray")]
#[expect(clippy::unnecessary_wraps, reason = "the other arm of the feature fails")]
#[expect(deprecated, reason = "upstream's own choice too; flex is ours, this one is held to it")]
fn ndarray() -> Result<Device, BackendError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device, BackendError> {
    Err(BackendError::NotBuilt("ndarray"))
}

/// An adapter that was opened.
#[derive(Debug, Clone)]
struct Gpu {
    device: Device,
    /// A driver that computes on the CPU.
    software: bool,
}

#[cfg(feature = "wgpu")]
mod gpu {
    //! wgpu's adapters. The runtime of an adapter lives as long as the process and is configured once.

    use std::sync::{Mutex, PoisonError};

    use burn::tensor::wgpu::wgpu::DeviceType;
    use burn::tensor::{Device, DeviceKind};

    use super::{Adapter, BackendError, Gpu};

    static OPENED: Mutex<Vec<(Adapter, Gpu)>> = Mutex::new(Vec::new());

    // The portable shaders: burn's SPIR-V (`burn/vulkan`) crashes the compiler of Mesa 22.3's lavapipe.
    pub(super) fn open(adapter: Adapter) -> Result<Gpu, BackendError> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gpu)) = opened.iter().find(|(known, _)| *known == adapter) {
            return Ok(gpu.clone());
        }
        let kind = match adapter {
            Adapter::Default => DeviceKind::DefaultDevice,
            Adapter::Discrete(index) => DeviceKind::DiscreteGpu(index),
            Adapter::Integrated(index) => DeviceKind::IntegratedGpu(index),
            Adapter::Virtual(index) => DeviceKind::VirtualGpu(index),
            Adapter::Cpu => DeviceKind::Cpu,
        };
        let (device, setup) = Device::wgpu_options()
            .device_kind(kind)
            .init_with_setup()
            .map_err(|e| BackendError::NoAdapter { adapter, reason: e.to_string() })?;
        let gpu = Gpu { device, software: setup.adapter.get_info().device_type == DeviceType::Cpu };
        opened.push((adapter, gpu.clone()));
        Ok(gpu)
    }
}

#[cfg(not(feature = "wgpu"))]
mod gpu {
    //! No wgpu in this build.

    use super::{Adapter, BackendError, Gpu};

    pub(super) fn open(_: Adapter) -> Result<Gpu, BackendError> {
        Err(BackendError::NotBuilt("wgpu"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_refused() {
        let adapters = [
            Adapter::Default,
            Adapter::Discrete(0),
            Adapter::Discrete(2),
            Adapter::Integrated(1),
            Adapter::Virtual(0),
            Adapter::Cpu,
        ];
        let gpus = adapters.map(Backend::Wgpu);
        for backend in [Backend::Flex, Backend::Ndarray].into_iter().chain(gpus) {
            assert_eq!(backend.to_string().parse(), Ok(backend));
            assert!(!backend.on_cpu().is_gpu());
        }
        assert_eq!("wgpu:discrete:0".parse(), Ok(Backend::Wgpu(Adapter::Discrete(0))));
        assert_eq!(Backend::Wgpu(Adapter::Discrete(0)).to_string(), "wgpu:discrete");
        for stranger in ["cuda", "flex:cpu", "wgpu:", "wgpu:cpu:1", "wgpu:discrete:-1", "wgpu:gpu", ""] {
            assert_eq!(stranger.parse::<Backend>(), Err(BackendError::Unknown(stranger.into())));
        }
        assert!(Backend::Flex.device().is_ok());
        assert_eq!(Backend::Flex.half_pays(), Ok(false));
    }

    #[cfg(not(feature = "wgpu"))]
    #[test]
    fn what_is_not_built_says_which_feature_it_is() {
        let error = Backend::Wgpu(Adapter::Cpu).device().unwrap_err();
        assert!(error.to_string().ends_with("--features wgpu"), "{error}");
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn an_adapter_that_is_not_there_is_named() {
        let adapter = Adapter::Virtual(99);
        let error = Backend::Wgpu(adapter).device().unwrap_err();
        assert!(matches!(&error, BackendError::NoAdapter { adapter: asked, .. } if *asked == adapter));
        assert!(error.to_string().contains("wgpu:virtual:99"), "{error}");
    }
}
